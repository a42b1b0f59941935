"""The demo end to end at toy sizes: every command of the way, as a user's shell would run it."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders import World
from fourdthinker.dataset_builders.world.facts import clip_facts

SIZES = ["--questions", "12", "--held-out", "6", "--steps-scale", "0.005"]


def run_demo(folder, *arguments):
    command = [sys.executable, "-m", "fourdthinker.cli", "demo", "--output", str(folder / "demo"), *SIZES, *arguments]
    environment = {**os.environ, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, timeout=1500)


def check_first_answer(printed, demo):
    """Before anything else: question, options, an answer with imagery, the right one and a picture."""
    before, later = printed.split("\n[2/12]")
    question, _, shown = before.partition("$ fourdthinker ask ")
    options = re.findall(r"^[A-D]\. (.*)$", question, re.MULTILINE)
    answer, right = (re.search(rf"^{name}: (.*)$", shown, re.MULTILINE)[1] for name in ("Answer", "The right answer"))
    assert "?" in question and len(options) == 4 and answer in options
    with World() as world:  # the first held-out clip
        assert [right] == clip_facts(world.clip(2**40)).camera
    assert "[imagery 1: 4 latents]" in shown
    picture = demo / "first_answer" / "imagery.png"
    assert shown.rstrip().endswith(str(picture)) and picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_mtime < (demo / "backbone" / "model.safetensors").stat().st_mtime


@pytest.mark.slow
def test_the_demo_goes_all_the_way_and_goes_on_where_it_stopped(tmp_path):
    first = run_demo(tmp_path)
    assert first.returncode == 0, first.stderr[-3000:]
    demo = tmp_path / "demo"
    stages = re.findall(r"^\[(\d+)/(\d+)\] .*: about (?:\d+ s|\d+ min) on two cores$", first.stdout, re.MULTILINE)
    assert stages == [(str(number), "12") for number in range(1, 13)]
    check_first_answer(first.stdout, demo)
    for name in ("backbone", "text_only", "dift", "grpo"):
        assert (demo / name / "model.safetensors").is_file()
    for line in ("chance", "before training", "text only", "after DIFT", "after DIFT, latents zeroed", "after 4DRL"):
        assert f"\n{line} " in first.stdout
    scores = json.loads((demo / "scores" / "grpo-own.json").read_text())["tasks"]["fourd_world"]
    assert scores["n"] == 12 and scores["tasks"]["camera_motion"]["n"] == 6
    card = (demo / "grpo" / "README.md").read_text()
    assert f"{100 * scores['accuracy']:.1f}" in card
    recipe = yaml.safe_load(re.search(r"```yaml\n(.*?)```", card, re.DOTALL)[1])
    assert recipe["max_steps"] == 1, "what ran, not the file that ships"
    assert re.search(r"\| task \| n \| chance \| this model \| text only \| after DIFT \|", card)
    stages = re.findall(r"^\| (pretraining|DIFT|4DRL) \| (\S+) \|", card, re.MULTILINE)
    assert stages == [("pretraining", "nothing"), ("DIFT", "backbone"), ("4DRL", "dift")]
    assert str(tmp_path) not in (demo / "grpo" / "lineage.json").read_text()
    ours, theirs = first.stdout.split("by fourdthinker eval ")[1].split("\n")[0].split(", by lmms_eval ")
    assert ours == theirs

    weights = (demo / "grpo" / "model.safetensors").stat().st_mtime_ns
    again = run_demo(tmp_path)
    assert again.returncode == 0, again.stderr[-3000:]
    assert "about" not in again.stdout, "a stage that was done before takes no time"
    assert (demo / "grpo" / "model.safetensors").stat().st_mtime_ns == weights
    table = first.stdout[first.stdout.rindex("\nchance ") : first.stdout.rindex("\nafter 4DRL")]
    assert table in again.stdout


@pytest.mark.slow
def test_the_demo_of_the_future_ends_in_a_table_and_a_card(tmp_path):
    done = run_demo(tmp_path, "--future")
    assert done.returncode == 0, done.stderr[-3000:]
    demo = tmp_path / "demo"
    stages = re.findall(r"^\[(\d+)/(\d+)\] .*: about (?:\d+ s|\d+ min) on two cores$", done.stdout, re.MULTILINE)
    assert stages == [(str(number), "6") for number in range(1, 7)]
    table = done.stdout[done.stdout.rindex("\nchance ") :]
    for line in ("the place last seen, or a guess", "text only", "8 latents, the answer sees no video"):
        assert f"\n{line} " in table
    assert "\n  with its own, encoded again without the video " in table and "(n = 6)" in done.stdout
    config = json.loads((demo / "bottleneck" / "config.json").read_text())
    assert (config["latent_size"], config["answer_sees"]) == (8, "latents")
    card = (demo / "bottleneck" / "README.md").read_text()
    assert re.search(r"\| task \| n \| chance \| this model \| text only \|", card)
    assert "answers by restricted choice" in card and "Do its answers depend on its latents?" in card
    assert (demo / "scores" / "diagnosis" / "index.html").is_file()


@pytest.mark.parametrize("option", [["--backbone", "x"], ["--retrain"]])
def test_the_demo_of_the_future_has_a_backbone_of_its_own(option, tmp_path, capsys):
    assert main(["demo", "--future", "--output", str(tmp_path / "demo"), *option]) == 2
    assert "--future starts from the shipped backbone" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(("found", "options"), [(None, ["--future"]), ("the future", [])])
def test_the_folder_of_the_other_demo_is_left_as_it_is(found, options, tmp_path, capsys):
    demo = tmp_path / "demo"
    (demo / "backbone").mkdir(parents=True)
    if found:
        (demo / "demo.txt").write_text(f"{found}\n")
    before = sorted(demo.rglob("*"))
    assert main(["demo", "--output", str(demo), *options]) == 2
    about = found or "motion"
    assert f"{demo} holds the demo about {about}: name another --output" in capsys.readouterr().err
    assert sorted(demo.rglob("*")) == before
