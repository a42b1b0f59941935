"""A saved folder loads where `fourdthinker` is not installed: in a fresh process that cannot import it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from fourdthinker.modeling.processing import conversation_text, encode
from fourdthinker.modeling.video_decoding import read_frames

SCRIPT = '''
import sys

folder, again, video, site = sys.argv[1:]
sys.path.insert(0, site)  # the transformers under test, which may lie over an environment


class WithoutUs:
    """However the package is installed, here it is not."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fourdthinker":
            raise ModuleNotFoundError(name, name=name)


sys.meta_path.insert(0, WithoutUs())
try:
    import fourdthinker.modeling
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("fourdthinker can be imported here")

import json

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
)

KINDS = (AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
models = [kind.from_pretrained(folder, trust_remote_code=True) for kind in KINDS]
assert AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type.startswith("fourdthinker")
inputs = processor(text=["Which way does the camera move?"], return_tensors="pt")
config = models[0].config


def start_first(ids, scores):
    if ids.shape[1] == inputs["input_ids"].shape[1]:
        scores = torch.full_like(scores, -torch.inf)
        scores[:, config.latent_start_token_id] = 0.0
    return scores


outputs = [
    model.generate(
        **inputs, max_new_tokens=8, do_sample=False, return_dict_in_generate=True, logits_processor=[start_first]
    )
    for model in models
]
assert all(torch.equal(outputs[0].sequences, output.sequences) for output in outputs)
models[0].save_pretrained(again)
processor.save_pretrained(again)
resaved = AutoModel.from_pretrained(again, trust_remote_code=True)
needless = sorted({"av", "datasets", "lmms_eval", "matplotlib", "trl"} & set(sys.modules))

from transformers import pipeline  # which in older versions imports av

content = [{"type": "video", "video": video}, {"type": "text", "text": "Which way does the camera move?"}]
messages = [{"role": "user", "content": content}]
shown = processor.apply_chat_template(
    messages, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
)
answer = models[0].generate(**shown, max_new_tokens=8, do_sample=False)[0, shown["input_ids"].shape[1] :]
ask = pipeline("image-text-to-text", again, trust_remote_code=True)
told = ask(text=messages, return_full_text=False, max_new_tokens=8, generate_kwargs={"do_sample": False})
turn = ask(text=messages, max_new_tokens=8, generate_kwargs={"do_sample": False})[0]["generated_text"][-1]
print(
    json.dumps(
        {
            "classes": [type(model).__name__ for model in models],
            "modules": [type(model).__module__ for model in models],
            "processor": type(processor).__module__,
            "ids": outputs[0].sequences[0].tolist(),
            "values": outputs[0].latent_embeds[0].tolist(),
            "equal": all(
                torch.equal(weight, resaved.state_dict()[name]) for name, weight in models[0].state_dict().items()
            ),
            "imported": sorted(name for name in sys.modules if name.startswith("fourdthinker.")),
            "needless": needless,
            "shown": {name: torch.as_tensor(values).tolist() for name, values in shown.items()},
            "answer": processor.decode(answer, skip_special_tokens=True),
            "told": told[0]["generated_text"],
            "turn": turn,
            "transformers": transformers.__version__,
        }
    )
)
'''


# Of each family: configuration, model, and the end of the names of their files.
NAMES = {
    "qwen2_5_vl": ("FourDThinkerConfig", "FourDThinkerForConditionalGeneration", "fourdthinker"),
    "qwen3_vl": (
        "FourDThinkerQwen3VLConfig",
        "FourDThinkerQwen3VLForConditionalGeneration",
        "fourdthinker_qwen3_vl",
    ),
}


@pytest.fixture(scope="module")
def elsewhere(tiny_model_folder, make_video, tmp_path_factory):
    """What the fresh process saw, and the folder that it saved."""
    home = tmp_path_factory.mktemp("elsewhere")
    video = make_video(home / "clip.mp4", seconds=3)
    kept = {
        name: value for name, value in os.environ.items() if name in ("PATH", "OMP_NUM_THREADS", "LD_LIBRARY_PATH")
    }
    environment = {**kept, "HOME": str(home), "HF_HOME": str(home / "hf"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    site = str(Path(transformers.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPT, str(tiny_model_folder), str(home / "again"), video, site],
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), home / "again"


@pytest.mark.slow
def test_auto_classes_load_the_code_in_the_folder(elsewhere, family):
    seen, _ = elsewhere
    assert seen["classes"] == [NAMES[family][1]] * 3
    assert all(module.startswith("transformers_modules.") for module in seen["modules"])
    assert re.fullmatch(rf"transformers_modules\..*processing_{NAMES[family][2]}", seen["processor"])
    assert seen["imported"] == seen["needless"] == []
    assert seen["transformers"] == transformers.__version__


@pytest.mark.medium
def test_generates_the_same_latents_as_here(elsewhere, tiny_model, tiny_processor):
    seen, _ = elsewhere
    ids = torch.tensor([seen["ids"]])
    prompt = tiny_processor(text=["Which way does the camera move?"], return_tensors="pt")["input_ids"].shape[1]
    config = tiny_model.config
    block = [config.latent_start_token_id, *[config.latent_token_id] * 4, config.latent_end_token_id]
    assert seen["ids"][prompt : prompt + 6] == block
    with torch.no_grad():
        states = tiny_model.model(input_ids=ids, latent_embeds=torch.tensor(seen["values"])).last_hidden_state
    torch.testing.assert_close(states[0, prompt : prompt + 4], torch.tensor(seen["values"]), atol=1e-5, rtol=0)


@pytest.mark.medium
def test_a_video_is_encoded_as_here_and_a_pipeline_answers_about_it(elsewhere, tiny_processor):
    seen, again = elsewhere
    clip = read_frames(again.parent / "clip.mp4", fps=1, max_frames=50)
    expected = encode(tiny_processor, [conversation_text(tiny_processor, "Which way does the camera move?")], [clip])
    assert seen["shown"].keys() == expected.keys()
    for name, values in expected.items():
        assert seen["shown"][name] == torch.as_tensor(values).tolist(), name
    assert seen["told"] == seen["answer"] != ""
    assert seen["turn"]["role"] == "assistant" and seen["turn"]["content"].strip() == seen["answer"].strip()


@pytest.mark.medium
def test_saving_again_keeps_weights_and_code(elsewhere, tiny_model_folder, family):
    seen, again = elsewhere
    assert seen["equal"]
    code = {path.name for path in tiny_model_folder.glob("*.py")}
    config_class, model_class, file = NAMES[family]
    assert {path.name for path in again.glob("*.py")} == code
    assert json.loads((again / "config.json").read_text())["auto_map"] == {
        "AutoConfig": f"configuration_{file}.{config_class}",
        "AutoModel": f"modeling_{file}.{model_class}",
        "AutoModelForImageTextToText": f"modeling_{file}.{model_class}",
        "AutoModelForMultimodalLM": f"modeling_{file}.{model_class}",
    }


def test_auto_classes_take_our_own_code_where_it_is_installed(tiny_model_folder, family):
    from transformers import AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM

    from fourdthinker.modeling.loading import FAMILIES

    for kind in (AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM):
        assert type(kind.from_pretrained(tiny_model_folder)) is FAMILIES[family]


def test_class_names_are_not_those_of_transformers():
    import transformers

    from fourdthinker import modeling

    for name in ("FourDThinkerConfig", "FourDThinkerForConditionalGeneration", "FourDThinkerModel"):
        assert getattr(modeling, name).__name__ == name
        assert not hasattr(transformers, name)


def test_text_format_loads_no_torch():
    script = (
        "import sys, fourdthinker.modeling.tokens, fourdthinker.modeling.prompts; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def relative_imports(path):
    return set(re.findall(r"^from \.(\w+) import", path.read_text(), flags=re.MULTILINE))


def test_every_file_that_travels_is_named_by_the_one_that_is_asked_for(tiny_model_folder):
    """transformers 5.2 copies no more than these from a local folder."""
    maps = [
        json.loads((tiny_model_folder / f"{name}.json").read_text())["auto_map"]
        for name in ("config", "processor_config")
    ]
    entries = {name.partition(".")[0] for auto_map in maps for name in auto_map.values()}
    assert len(entries) == 3, "configuration, model, processor"
    for entry in entries:
        named = relative_imports(tiny_model_folder / f"{entry}.py")
        needed, open_ones = set(), set(named)
        while open_ones:
            needed |= open_ones
            open_ones = (
                set().union(*(relative_imports(tiny_model_folder / f"{name}.py") for name in open_ones)) - needed
            )
        assert needed == named
