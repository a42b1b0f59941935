"""Models on a Hub: one commit for all files, no code of theirs run, an adapter's base named before it is read."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file

from fourdthinker.modeling import load_model

# What the last lines of each command said, its code, and the requests that went before its first line.
CLIENT = """
import contextlib, io, json, sys

commands, marker = json.load(sys.stdin)


class NoQuestions(io.StringIO):
    def readline(self, *size):
        raise AssertionError("a question on the terminal")


sys.stdin = NoQuestions()
from fourdthinker.cli.main import main

ends = []
for argv in commands:
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            code = main(argv)
        except SystemExit as stop:
            code = stop.code
    ends.append([code, out.getvalue(), errors.getvalue()])
print(json.dumps(ends))
"""
HOSTILE = "open({marker!r}, 'w').write(__file__)\n"
pytestmark = pytest.mark.slow

COMMIT = re.compile(r"model (\S+) at commit ([0-9a-f]{40})")


@pytest.fixture(scope="module")
def family():
    return "qwen2_5_vl"


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def change_json(files, name, **fields):
    return {**files, name: json.dumps({**json.loads(files[name]), **fields}).encode()}


def hostile_files(files, marker):
    """The same model with code wherever something could run it: its own files, and names of classes in JSON."""
    code = HOSTILE.format(marker=str(marker)).encode()
    files = {name: code if name.endswith(".py") else content for name, content in files.items()}
    files |= {"evil.py": code, "custom_generate/generate.py": code}
    auto_map = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForImageTextToText"), "evil.Evil")
    files = change_json(files, "config.json", auto_map=auto_map, latent_size=2)
    named = {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"], "AutoProcessor": "evil.Evil"}}
    files = change_json(files, "tokenizer_config.json", **named)
    named["auto_map"] |= {"AutoImageProcessor": "evil.Evil", "AutoVideoProcessor": "evil.Evil"}
    return change_json(files, "processor_config.json", **named)


class Client:
    """Runs commands, one after the other, in a process that sees the local Hub."""

    def __init__(self, hub, home):
        self.hub, self.home, self.marker = hub, home, home / "ran"

    def run(self, *commands, **environment):
        words = [[str(word) for word in command] for command in commands]
        done = subprocess.run(
            [sys.executable, "-c", CLIENT],
            input=json.dumps([words, str(self.marker)]),
            capture_output=True,
            text=True,
            timeout=1800,
            cwd=self.home,
            env={**os.environ, **self.hub.environment(self.home / "hub"), **environment},
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def publish(self, name, files, tag=None):
        """A commit on the head of a repository."""
        from ..local_hub import Repository

        repository = self.hub.repositories.setdefault(("model", name), Repository())
        commit = repository.commit("refs/heads/main", "made", files)
        if tag:
            repository.refs[f"refs/tags/{tag}"] = commit
        return commit

    def read_files(self, name):
        """Commit or revision, and name, of each file that was asked for."""
        pattern = re.compile(rf"^/{name}/resolve/([^/]+)/(.+)$")
        return [match.groups() for _, path, _ in self.hub.requests if (match := pattern.match(path))]


@pytest.fixture
def client(hub, tmp_path):
    return Client(hub, tmp_path)


@pytest.fixture
def video(make_video, tmp_path):
    return make_video(tmp_path / "clip.mp4", 2)


def ask(video, *model):
    return ["ask", video, "Which way?", "--max-new-tokens", "2", "--frames", "2", "--device", "cpu", "--model", *model]


def test_all_files_are_of_the_revision_that_is_asked_for_and_none_is_run(client, tiny_model_folder, video, tmp_path):
    good = content_of(tiny_model_folder)
    first = client.publish("me/tiny", good, tag="v1")
    newest = client.publish("me/tiny", hostile_files(good, client.marker))
    rows = tmp_path / "rows.jsonl"
    question = {"video": "clip.mp4", "question": "Which way?", "options": ["left", "right"], "answer": "left"}
    rows.write_text(json.dumps({**question, "response": "Left."}))
    scores, out = tmp_path / "scores.json", tmp_path / "out"
    asked = ["eval", "--model", "me/tiny", "--dataset", rows, "--max-new-tokens", "2", "--device", "cpu"]
    ends = client.run(
        ask(video, "me/tiny", "--revision", "v1"),
        ask(video, "me/tiny"),
        [*asked, "--revision", first, "--output", scores],
        ["dift", "--model", "me/tiny", "--revision", "v1", "--dataset", rows, "--output", out, "--max_steps", "1"]
        + ["--use_cpu", "true", "--bf16", "false", "--use_peft", "true", "--lora_r", "2", "--save_strategy", "no"],
        ask(video, "me/tiny", "--revision", "v2"),
    )
    assert [code for code, _, _ in ends] == [0, 0, 0, 0, 2], ends
    assert [COMMIT.findall(error) for _, _, error in ends] == [
        [("me/tiny", first)],
        [("me/tiny", newest)],
        [("me/tiny", first)],
        [("me/tiny", first)],
        [],
    ]
    assert not client.marker.exists(), client.marker.read_text()
    read = client.read_files("me/tiny")
    assert not [name for _, name in read if name.endswith(".py")]
    # A branch or tag is asked for its commit once in each command; everything else is named by commit.
    assert {revision for revision, name in read if name != "config.json"} == {first, newest}
    assert "model.safetensors" in {name for revision, name in read if revision == first}
    assert ends[4][2].count("\n") == 1 and "v2" in ends[4][2]
    settings = json.loads(scores.read_text())["tasks"][str(rows)]["settings"]
    assert settings["commit"] == first
    # The adapter that was trained notes which commit it belongs to.
    assert json.loads((out / "adapter_config.json").read_text())["revision"] == first
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "me/tiny"


def test_an_adapters_base_is_named_before_it_is_read_and_is_of_the_commit_it_notes(
    client, tiny_model_folder, video, tmp_path
):
    good = content_of(tiny_model_folder)
    first = client.publish("me/base", good, tag="v1")
    client.publish("me/base", {name: good[name] for name in good if name != "model.safetensors"})
    model, processor = load_model(tiny_model_folder)
    model.name_or_path = "me/base"
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"], revision=first)).save_pretrained(tmp_path / "a")
    model.save_configuration(tmp_path / "a")
    processor.save_pretrained(tmp_path / "a")
    adapter = content_of(tmp_path / "a")
    commit = client.publish("me/adapter", adapter, tag="v1")
    unpinned = change_json(adapter, "adapter_config.json", revision=None)
    client.publish("me/adapter", unpinned)
    (tmp_path / "a" / "adapter_config.json").write_bytes(unpinned["adapter_config.json"])
    client.publish("me/loop", change_json(unpinned, "adapter_config.json", base_model_name_or_path="me/loop"))
    noted, newest, local, loop = client.run(
        ask(video, "me/adapter", "--revision", "v1"),
        ask(video, "me/adapter"),
        ask(video, tmp_path / "a", "--revision", "v1"),
        ask(video, "me/loop"),
    )
    assert noted[0] == 0, noted
    lines = [line for line in noted[2].splitlines() if "me/" in line and "downloading" not in line]
    assert lines[:3] == [
        f"model me/adapter at commit {commit}",
        f"me/adapter is an adapter of me/base at revision {first}, which is opened now",
        f"model me/base at commit {first}",
    ]
    assert {revision for revision, _ in client.read_files("me/base")} >= {first}
    # What is pushed to the base later reaches adapters that note no commit of it.
    assert newest[0] == 2 and "me/adapter is an adapter of me/base, which is opened now" in newest[2]
    assert "which cannot be read here: me/base has no readable weights" in newest[2].splitlines()[-1]
    # A folder has no revision, so the one that is asked for is of its base.
    assert local[0] == 0 and f"model me/base at commit {first}" in local[2]
    assert loop[0] == 2 and "me/loop is an adapter of itself" in loop[2]


def test_pickled_weights_on_the_hub_end_in_one_line(client, tiny_model_folder, video, tmp_path):
    files = content_of(tiny_model_folder)
    torch.save(load_file(tiny_model_folder / "model.safetensors"), tmp_path / "pytorch_model.bin")
    del files["model.safetensors"]
    client.publish("me/pickled", {**files, "pytorch_model.bin": (tmp_path / "pytorch_model.bin").read_bytes()})
    kernel = change_json(content_of(tiny_model_folder), "config.json", attn_implementation="me/kernel")
    client.publish("me/kernel", kernel)
    pickled, foreign = client.run(ask(video, "me/pickled"), ask(video, "me/kernel"))
    assert pickled[0] == 2 and "me/pickled has pickled weights" in pickled[2].splitlines()[-1]
    assert "Traceback" not in pickled[2]
    fetched = [path for method, path, _ in client.hub.requests if method == "GET"]
    assert not [path for path in fetched if path.endswith(".bin")], "not even fetched"
    assert foreign[0] == 2 and "names code of another repository to run" in foreign[2].splitlines()[-1]
