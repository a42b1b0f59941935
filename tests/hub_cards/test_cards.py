"""Cards: true headers, text that stays where it is put, and a snippet that runs as printed."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
import yaml
from datasets import Dataset, load_dataset
from huggingface_hub import DatasetCard, ModelCard

from fourdthinker.eval_tasks.report.build import build_report, report_controls
from fourdthinker.eval_tasks.scores import score
from fourdthinker.hub_cards import dataset_card, model_card
from fourdthinker.hub_cards.rendering import fence, inline
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.processing import conversation_text, encode
from fourdthinker.modeling.video_decoding import read_frames

HOSTILE = [
    "---\nlicense: evil\n---",
    "a\n---\n# heading",
    "x: y\nbase_model: evil/model",
    "<script>alert(1)</script>",
    "`code` | cell ](https://evil.example)",
    "\"quoted\" 'twice' \\ {{ 7 * 7 }} {% raise %}",
    "\u2028---\u2028license: evil\x00\x85---\x85",
    "```\nfenced\n````",
    "!!python/object/apply:os.system ['true']",
]


@pytest.fixture
def folder(tmp_path):
    """A folder with what a card reads: a configuration and the header of some weights."""
    path = tmp_path / "thinker"
    path.mkdir()
    (path / "config.json").write_text(json.dumps({"latent_size": 4, "position_rule": "qwen2_5_vl"}))
    header = {"w": {"dtype": "BF16", "shape": [3, 5], "data_offsets": [0, 30]}, "__metadata__": {"format": "pt"}}
    text = json.dumps(header).encode()
    (path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(30))
    return path


@pytest.fixture
def scores():
    options = ["left", "right", "up", "down"]
    rows = [
        {"task": task, "options": options, "answer": "B", "response": f"<answer>{letter}</answer>"}
        for task, letters in {"camera_motion": "BBBA", "object_motion": "BACD"}.items()
        for letter in letters
    ]
    return {"fourd_world": score(rows)}


def header(card) -> dict:
    """The header as the Hub reads it from the saved text."""
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", str(card), flags=re.DOTALL)[1])


def snippets(card) -> list[str]:
    """The code that reads a file and answers, and the pipeline that takes the same messages."""
    return re.findall(r"```python\n(.*?)```", str(card), flags=re.DOTALL)


def snippet(card) -> str:
    return snippets(card)[0]


def test_full_model_card(folder, scores):
    card = model_card(
        folder,
        scores=scores,
        recipe={"learning_rate": 1e-4, "max_steps": 2400},
        datasets=["org/4d-cot", "rendered scenes"],
        base_model="Qwen/Qwen2.5-VL-3B-Instruct",
    )
    data = header(card)
    assert data["base_model"] == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert data["datasets"] == ["org/4d-cot"]
    assert (data["pipeline_tag"], data["library_name"]) == ("video-text-to-text", "transformers")
    assert (data["license"], data["license_name"]) == ("other", "qwen-research"), "the base model's terms apply"
    assert data["license_link"].startswith("https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct/")
    assert (data["base_model_relation"], data["language"], data["metrics"]) == ("finetune", "en", ["accuracy"])
    assert "learning_rate: 0.0001" in str(card) and "- Data: rendered scenes" in str(card)
    assert "**Parameters:** 15" in str(card)


def test_scores_in_header_and_table_are_the_result(folder, scores):
    card = model_card(folder, scores=scores)
    results = {entry.dataset_config: entry for entry in ModelCard(str(card)).data.eval_results}
    assert set(results) == {None, "camera_motion", "object_motion"}
    camera = results["camera_motion"]
    assert camera.metric_value == 0.75
    low, high = scores["fourd_world"]["tasks"]["camera_motion"]["interval"]
    assert camera.metric_args == {"n": 4, "interval_95": [round(low, 4), round(high, 4)], "chance": 0.25}
    assert f"| camera motion | 4 | 25.0 % | 75.0 % ({100 * low:.1f} to {100 * high:.1f}) |" in str(card)
    assert "| all | 8 | 25.0 % | 50.0 % (" in str(card)


def test_one_result_alone(folder, scores):
    card = str(model_card(folder, scores=scores["fourd_world"]))
    assert "### evaluation" in card and "| all | 8 |" in card


def test_a_card_says_what_the_video_is_worth_or_that_nothing_shows_it(folder, scores):
    assert "- No blind control was run: nothing here shows that" in str(model_card(folder, scores=scores))
    rows = [{"id": str(n), "task": "t", "options": ["a", "b"], "answer": "A", "response": "A"} for n in range(20)]
    blind = [{**row, "response": "B"} for row in rows]
    report = {**build_report(rows, skip_missing=True), "controls": report_controls(rows, {"video none": blind})}
    card = str(model_card(folder, scores={"bench": report}))
    assert "- The video is worth +100.0 points" in card and "No blind control" not in card
    assert "- 0 rows whose video is missing or unreadable are left out of n" in card


def test_scores_of_earlier_versions_still_make_a_card(folder, scores):
    old = json.loads(json.dumps(scores["fourd_world"]))
    for numbers in (old, *old["tasks"].values()):
        for name in ("unreadable", "macro", "macro_interval", "rule", "skip_missing", "interval_method", "videos"):
            numbers.pop(name, None)
    assert "| all | 8 |" in str(model_card(folder, scores={"fourd_world": old}))


def test_bare_model_card(folder):
    card = model_card(folder)
    data = header(card)
    assert data["license"] == "apache-2.0"
    assert not {"base_model", "datasets", "model-index"} & set(data)
    assert "Not evaluated." in str(card) and "Not diagnosed" in str(card) and "are not recorded" in str(card)
    assert not re.search(r"\bNone\b|\{\{ |\{%", str(card))
    assert "scores above" not in str(card) and "\n\n\n" not in str(card)


def test_folder_facts_are_optional(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    text = str(model_card(tmp_path))
    assert "Parameters" not in text and "position_rule" not in text and "None" not in text


@pytest.mark.parametrize("content", [None, "{torn"])
def test_not_a_model_folder(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="holds no saved model") as error:
        model_card(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_local_folders_are_no_hub_ids(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo" / "data").mkdir(parents=True)
    data = header(model_card(folder, datasets="demo/data", base_model="demo/data"))
    assert "datasets" not in data and "base_model" not in data


def test_settings_are_shown_without_paths(folder, tmp_path):
    path = tmp_path / "dift.yaml"
    places = "model: /home/me/base\noutput: out\nfeature_cache: features\n"
    path.write_text(places + "learning_rate: 1.0e-4\nnested: {file: /data/some/rows.json}\n")
    card = str(model_card(folder, recipe=path))
    assert "```yaml\nlearning_rate: 0.0001\nnested:\n  file: rows.json\n```" in card
    assert "/home/me" not in card and "/data/some" not in card


@pytest.mark.medium
@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_data_cannot_break_the_model_card(folder, scores, text):
    named = {text: scores["fourd_world"] | {"tasks": {text: scores["fourd_world"]["tasks"]["camera_motion"]}}}
    card = model_card(
        folder, scores=named, recipe={"note": text}, datasets=[text], base_model=text, license=None, repo_id=text
    )
    plain = header(model_card(folder, scores=scores, base_model="words"))
    data = header(card)
    assert set(data) == set(plain) and "license" not in data, "nobody knows the terms of a described base"
    assert data == ModelCard(str(card)).data.to_dict()
    assert_body_is_inert(card, text)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_data_cannot_break_the_dataset_card(text):
    card = dataset_card(
        {text: {"train": "a.parquet"}}, {text: {"train": 3}}, text, license=None, name=text, sources=[text]
    )
    data = header(card)
    expected = {"configs", "pretty_name", "size_categories", "tags", "task_categories"}
    assert set(data) == expected | {"language", "annotations_creators", "source_datasets"}
    files = [{"split": "train", "path": "a.parquet"}]
    assert data["configs"] == [{"config_name": text, "data_files": files, "default": True}]
    assert_body_is_inert(card, text)


def assert_body_is_inert(card, text):
    body = str(card).split("\n---\n", 1)[1]
    prose = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", body, flags=re.DOTALL | re.MULTILINE)
    assert "<script" not in prose and not re.search(r"(?<!\\)\]\(https://evil", prose)
    assert "# heading" not in prose.splitlines() and "license: evil" not in prose.splitlines()
    assert "```" not in prose, "a fence was closed by its own content"
    for line in prose.splitlines():
        if line.startswith(("| task", "| all")):
            assert len(re.findall(r"(?<!\\)\|", line)) == 5
    compile(snippet_of(body), "card", "exec")


def snippet_of(body: str) -> str:
    return re.search(r"^(`{3,})python\n(.*?)^\1$", body, flags=re.DOTALL | re.MULTILINE)[2]


def test_inline_and_fence():
    assert inline("a_b *c* <d>\n| e") == r"a_b \*c\* &lt;d&gt; \| e"
    assert fence("```\nx\n```", "yaml") == "````yaml\n```\nx\n```\n````"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"], indirect=True)
def test_snippets_run_as_printed(tiny_model_folder, make_video, tmp_path):
    """In a process that cannot import the package: the folder's own code has to do."""
    make_video(tmp_path / "clip.mp4", seconds=3)
    card = str(model_card(tiny_model_folder))
    code = "\n".join(snippets(card)).replace("max_new_tokens=512", "max_new_tokens=8")
    without_us = """
import sys

class WithoutUs:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fourdthinker":
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, WithoutUs())
"""
    check = """
assert 'fourdthinker' not in sys.modules
assert type(processor).__module__.startswith('transformers_modules')
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", without_us + code + check],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "Answer: " in done.stdout and done.stdout.rpartition("Answer: ")[2].strip()


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl"], indirect=True)
def test_the_snippet_is_short_and_asks_as_everything_else_does(
    tiny_model_folder, tiny_processor, make_video, tmp_path, monkeypatch
):
    """The prompt, the frames and their times are those of training and evaluation."""
    monkeypatch.chdir(tmp_path)
    clip = read_frames(make_video("clip.mp4", seconds=3, size=(640, 480)), fps=1, max_frames=50)
    code = snippet(model_card(tiny_model_folder))
    assert len([line for line in code.splitlines() if line]) <= 11
    assert 'dtype="auto"' in code and 'device_map="auto"' in code
    variables = {}
    exec(code.split("output =")[0], variables)  # up to what the model is given
    options = ["Truck Left", "Truck Right", "Dolly In", "Stay"]
    text = conversation_text(tiny_processor, "How does the camera move?", options)
    expected = encode(tiny_processor, [text], [clip])
    assert variables["inputs"].keys() == expected.keys()
    for name, values in expected.items():
        assert torch.equal(torch.as_tensor(variables["inputs"][name]), torch.as_tensor(values)), name


def test_dataset_card_leads_load_dataset_to_the_files(tmp_path):
    for config, values in {"dift": [1, 2], "grpo": [3]}.items():
        (tmp_path / config).mkdir()
        Dataset.from_dict({"id": values}).to_parquet(tmp_path / config / "train.parquet")
    configs = {name: {"train": f"{name}/train.parquet"} for name in ("dift", "grpo")}
    card = dataset_card(configs, {"dift": {"train": 2}, "grpo": {"train": 1}})
    card.save(tmp_path / "README.md")
    cache = str(tmp_path / "cache")
    assert load_dataset(str(tmp_path), "dift", split="train", cache_dir=cache)["id"] == [1, 2]
    assert load_dataset(str(tmp_path), "grpo", split="train", cache_dir=cache)["id"] == [3]
    assert header(card)["size_categories"] == ["n<1K"]
    assert "| dift (default) | train | 2 |" in str(card) and "`imagery`" in str(card)


def test_bare_dataset_card():
    card = dataset_card({"grpo": {"train": ["a.parquet", "b.parquet"]}}, license=None)
    data = header(card)
    assert "license" not in data and "size_categories" not in data
    assert data["configs"][0]["data_files"] == [{"split": "train", "path": ["a.parquet", "b.parquet"]}]
    assert "not counted" in str(card) and "`imagery`" not in str(card)
    assert DatasetCard(str(card)).data.to_dict() == data


@pytest.mark.parametrize(("rows", "category"), [(999, "n<1K"), (1000, "1K<n<10K"), (2_000_000, "n>1M")])
def test_size_categories(rows, category):
    assert header(dataset_card({"a": {"train": "x"}}, {"a": {"train": rows}}))["size_categories"] == [category]
