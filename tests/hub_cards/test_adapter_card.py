"""The card of an adapter: both counts, and a snippet that runs where this package is not installed."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model

from fourdthinker.hub_cards import model_card
from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError

# Prints what follows as a list of numbers, in place of the text that a random model writes.
CHECK = """
print(output[0, inputs["input_ids"].shape[1] :].tolist())
assert model.get_base_model().config.latent_target_norm == 3.0, "the configuration that training has written"
assert "fourdthinker" not in sys.modules and "transformers_modules" in " ".join(sys.modules)
"""
WITHOUT_US = """
import sys


class WithoutUs:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fourdthinker":
            raise ModuleNotFoundError(name, name=name)


sys.meta_path.insert(0, WithoutUs())
"""


@pytest.fixture
def adapters(tiny_model_folder, tmp_path):
    """An adapter of the tiny model, with a trained configuration, and an adapter of that one."""
    base = tiny_model_folder
    for name in ("first", "second"):
        model, processor = load_model(base)
        model.config.latent_norm, model.config.latent_target_norm = "match", 3.0
        torch.manual_seed(len(name))
        settings = LoraConfig(r=2, target_modules=r".*language_model.*(q|down)_proj", init_lora_weights=False)
        get_peft_model(model, settings).save_pretrained(tmp_path / name)
        model.save_configuration(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
        base = tmp_path / name
    return tmp_path / "first", tmp_path / "second"


def snippet(card) -> str:
    return re.search(r"```python\n(.*?)```", str(card), re.DOTALL)[1]


@pytest.mark.medium
def test_both_counts_are_in_the_card(adapters, tiny_model_folder):
    model, _ = load_model(tiny_model_folder)
    whole = sum(weight.numel() for weight in model.parameters())
    layers = model.config.text_config.num_hidden_layers
    hidden, inner = model.config.text_config.hidden_size, model.config.text_config.intermediate_size
    of_adapter = layers * 2 * (2 * hidden + inner + hidden)  # rank 2, of a square table and of one that narrows
    for folder in adapters:
        card = model_card(folder)
        assert f"**Parameters:** {of_adapter:,} of this adapter (PEFT), {whole:,} of its base model" in str(card)
        assert card.data.library_name == "peft"


@pytest.mark.slow
def test_the_snippet_runs_as_printed_and_answers_as_the_model_does(adapters, make_video, tmp_path, monkeypatch):
    """The upper one of two adapters, so that both ways to put one on are in it."""
    make_video(tmp_path / "clip.mp4", seconds=3)
    code = snippet(model_card(adapters[1])).replace("max_new_tokens=512", "max_new_tokens=12")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_US + code + CHECK],
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    variables = {}
    monkeypatch.chdir(tmp_path)
    exec(code.split("output =")[0], variables)  # up to what the model is given
    model, inputs = load_model(adapters[1])[0], variables["inputs"]
    expected = model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert json.loads(done.stdout.splitlines()[-1]) == expected.tolist()


def test_an_adapter_of_itself_is_rejected(adapters):
    first, second = adapters
    file = first / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "base_model_name_or_path": str(second)}))
    with pytest.raises(InputError, match="adapter of itself"):
        model_card(second)
