"""The scripts of `examples/` run as a user runs them, on the trained model that ships and the clip beside it."""

import json
import runpy
import shutil
from pathlib import Path

import pytest
from PIL import Image

from fourdthinker.cli.init import EXAMPLE, TINY_TRAINED
from fourdthinker.modeling import load_model

EXAMPLES = Path(__file__).parents[1] / "examples"
QUESTION = "Which way does the camera move between 0.0 s and 3.5 s?"
OPTIONS = ["Pedestal Up", "Truck Left", "Pedestal Down", "Truck Right"]


@pytest.fixture
def rows(tmp_path):
    """A file with two right answers and two that are wrong."""
    shutil.copy(TINY_TRAINED / EXAMPLE, tmp_path / "clip.mp4")
    Image.new("RGB", (56, 56)).save(tmp_path / "there.png")
    row = {"video": "clip.mp4", "question": QUESTION, "options": OPTIONS, "imagery": ["there.png"]}
    row["response"] = "It goes <output_image> there."
    answers = ["truck right", "D", "A", "Truck Left"]
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps({**row, "answer": answer}) for answer in answers))
    return "rows.jsonl"


@pytest.fixture
def run(run_python):
    """Runs an example in an empty folder, and gives what it prints."""
    return lambda script, *arguments: run_python(EXAMPLES / script, *arguments).stdout


def test_examples_are_four_and_short():
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_file()) == [
        "ask_about_video.py",
        "evaluate.py",
        "fine_tune_on_own_rows.py",
        "grpo_with_own_reward.py",
    ]
    assert all(len(path.read_text().splitlines()) <= 40 for path in EXAMPLES.glob("*.py"))


@pytest.mark.slow
def test_ask_about_video(run):
    printed = run("ask_about_video.py", str(TINY_TRAINED), str(TINY_TRAINED / EXAMPLE), QUESTION, *OPTIONS)
    assert "[imagery 1: 4 latents]" in printed and printed.endswith("chosen: Truck Right\n")


def test_a_letter_chooses_nothing_where_no_options_were_given():
    find_chosen_option = runpy.run_path(str(EXAMPLES / "ask_about_video.py"))["find_chosen_option"]
    assert find_chosen_option("<answer>B</answer>", ()) is None
    assert find_chosen_option("<answer>B</answer>", ("left", "right")) == "right"


@pytest.mark.slow
def test_evaluate(run, rows):
    printed = run("evaluate.py", str(TINY_TRAINED), rows)
    assert "rows.jsonl: 4 rows with video from video" in printed
    own, zero = printed.split("zero latents")
    assert "own latents" in own and all("rows  4        2    50.0 %" in table for table in (own, zero))


@pytest.mark.slow
def test_fine_tune_on_own_rows(run, rows, tmp_path):
    printed = run("fine_tune_on_own_rows.py", str(TINY_TRAINED), rows, "tuned")
    assert "4 responses got <answer> tags; left out: nothing" in printed
    assert_trained(tmp_path / "tuned")


@pytest.mark.slow
def test_grpo_with_own_reward(run, rows, tmp_path):
    printed = run("grpo_with_own_reward.py", str(TINY_TRAINED), rows, "rewarded")
    assert "rewards/brevity_reward/mean" in printed
    assert_trained(tmp_path / "rewarded", moved=False)  # where all completions of a prompt earn the same


def assert_trained(folder, moved=True):
    """The folder holds a whole model, whose weights are other ones."""
    (model, processor), (before, _) = load_model(folder), load_model(TINY_TRAINED)
    assert processor.video_processor is not None
    old = before.state_dict()
    changed = [name for name, weight in model.state_dict().items() if not weight.equal(old[name])]
    assert bool(changed) or not moved
