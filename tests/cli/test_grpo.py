"""`fourdthinker grpo`: from a recipe and rows to a folder that loads, and one line for what cannot be."""

import io
import json
from pathlib import Path

import pytest
import yaml
from datasets import Dataset, Image, List
from PIL import Image as Picture

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders import video_rows
from fourdthinker.dataset_builders.video import read_frames
from fourdthinker.modeling import load_model

SETTINGS = {
    "per_device_train_batch_size": 4,
    "num_generations": 2,
    "max_completion_length": 8,
    "max_steps": 2,
    "learning_rate": "1e-3",
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "save_strategy": "no",
}


def png(shade):
    file = io.BytesIO()
    Picture.new("RGB", (56, 56), (shade, 0, 0)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture
def dataset(tmp_path):
    rows = Dataset.from_list(
        [
            {
                "question": f"Which way, {number}?",
                "options": ["left", "right", "up", "down"],
                "answer": "A",
                "frames": [png(number), png(number + 40)],
                "timestamps": [0.0, 0.5],
            }
            for number in range(4)
        ]
    ).cast_column("frames", List(Image()))
    folder = tmp_path / "data"
    (folder / "grpo").mkdir(parents=True)
    rows.to_parquet(folder / "grpo" / "train-00000.parquet")
    card = {"configs": [{"config_name": "grpo", "data_files": [{"split": "train", "path": "grpo/train-*.parquet"}]}]}
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n")
    return folder


@pytest.fixture
def recipe(tmp_path, tiny_model_folder, dataset):
    def write(**changes):
        places = {"model": str(tiny_model_folder), "dataset": str(dataset), "output": str(tmp_path / "out")}
        path = tmp_path / "grpo.yaml"
        path.write_text(yaml.safe_dump({**places, **SETTINGS, **changes}))
        return path

    return write


def test_a_recipe_gives_a_folder_that_loads_and_tells_its_training(recipe, tmp_path, tiny_model_folder):
    assert main(["grpo", "--config", str(recipe()), "--set", "max_steps=1"]) == 0
    out = tmp_path / "out"
    model, processor = load_model(out)
    start, _ = load_model(tiny_model_folder)
    assert model.state_dict().keys() == start.state_dict().keys()
    assert processor.tokenizer.convert_tokens_to_ids("<|latent_pad|>") == model.config.latent_token_id
    log = json.loads((out / "training_log.json").read_text())
    assert [entry["step"] for entry in log["log_history"] if "reward" in entry] == [1]
    assert log["settings"]["learning_rate"] == "1e-3"
    assert not list(out.glob("*.bin")) and not (tmp_path / "out-checkpoints").exists()


def test_an_interrupted_run_goes_on_and_ends_like_an_undisturbed_one(recipe, tmp_path, tiny_model_folder):
    # A random model earns no reward; the entropy bonus gives every step a gradient that depends on its rollouts.
    path = str(recipe(save_strategy="steps", save_steps=1, max_steps=3, entropy_coef=1.0, learning_rate=1e-2))
    assert main(["grpo", "--config", path]) == 0
    weights = {name: weight.clone() for name, weight in load_model(tmp_path / "out")[0].state_dict().items()}
    # What a kill during step 2 leaves behind: the checkpoint of step 1 and no output.
    (tmp_path / "out").rename(tmp_path / "undisturbed")
    for late in ("checkpoint-2", "checkpoint-3"):
        (tmp_path / "out-checkpoints" / late).rename(tmp_path / late)
    assert main(["grpo", "--config", path]) == 0
    resumed = load_model(tmp_path / "out")[0].state_dict()
    start = load_model(tmp_path / "checkpoint-2")[0].state_dict()
    moved = max((weights[name] - start[name]).abs().max() for name in weights)
    assert moved > 1e-3
    assert max((weights[name] - resumed[name]).abs().max() for name in weights) < 1e-6


def test_checkpoints_of_another_recipe_are_not_mixed_in(recipe, capsys):
    assert main(["grpo", "--config", str(recipe(save_strategy="steps", save_steps=1, max_steps=1))]) == 0
    other = recipe(save_strategy="steps", save_steps=1, max_steps=1, beta=0.5)
    assert main(["grpo", "--config", str(other)]) == 2
    assert "holds checkpoints of another run" in capsys.readouterr().err


@pytest.fixture
def published(tmp_path, make_video):
    """A published file: two rows with a video, one with frames, and one whose video is gone."""
    asked = {"Type": "abs_dir", "Question": "Which way?", "A": "l", "B": "r", "C": "u", "D": "d", "Correct": "A"}
    make_video(tmp_path / "first.mp4", 2)
    make_video(tmp_path / "second.mp4", 3, shade=100)
    for number in range(2):
        Picture.new("RGB", (56, 56), (100 * number, 0, 0)).save(tmp_path / f"{number}.png")
    media = [
        {"video_path": "first.mp4"},
        {"video_path": "second.mp4"},
        {"frame_paths": ["0.png", "1.png"]},
        {"video_path": "gone.mp4"},
    ]
    lines = [{"id": f"row-{number}", **asked, **medium} for number, medium in enumerate(media)]
    path = tmp_path / "published.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_published_files_with_videos_train_as_they_are(recipe, published, tmp_path, capsys, monkeypatch):
    decoded = []
    monkeypatch.setattr(
        video_rows, "read_frames", lambda file, **how: decoded.append(Path(file).name) or read_frames(file, **how)
    )
    path = str(recipe(dataset=str(published), num_train_epochs=1, max_steps=-1, per_device_train_batch_size=6))
    assert main(["grpo", "--config", path]) == 2
    told = capsys.readouterr().err
    assert "1 of 4 rows cannot be trained on; the first is row-3: its video is not there" in told
    assert not (tmp_path / "out").exists()
    assert main(["grpo", "--config", path, "--on-bad-row", "skip"]) == 0
    log = json.loads((tmp_path / "out" / "training_log.json").read_text())["log_history"]
    assert [entry["step"] for entry in log if "reward" in entry] == [1]  # three prompts, two completions each
    assert sorted(decoded) == ["first.mp4", "second.mp4"]


def test_a_damaged_video_stops_the_run_in_one_line(recipe, published, tmp_path, capsys):
    video = tmp_path / "second.mp4"
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    path = str(recipe(dataset=str(published), num_train_epochs=1, max_steps=-1, per_device_train_batch_size=6))
    assert main(["grpo", "--config", path, "--on-bad-row", "skip"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("fourdthinker: error: row row-1: ") and "second.mp4" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lerning_rate": 1}, "did you mean 'learning_rate'"),
        ({"learning_rate": "fast"}, "invalid float value: 'fast'"),
        ({"output_dir": "x"}, "unknown setting 'output_dir'"),
        ({"latent_mask": "none"}, "invalid choice: 'none'"),
        ({"num_generations": 3}, "must be divisible by num_generations"),
        ({"use_vllm": True}, "set use_vllm"),
        ({"dataset": "no/such/folder"}, "cannot read train rows for 'grpo' from no/such/folder"),
        ({"model": None}, "no model given"),
    ],
)
def test_bad_recipes_end_in_one_line(recipe, tmp_path, capsys, changes, words):
    assert main(["grpo", "--config", str(recipe(**changes))]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("fourdthinker: error: ") and words in error
    assert not (tmp_path / "out").exists() and not (tmp_path / "out-checkpoints").exists()
