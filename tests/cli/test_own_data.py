"""Files of a user's own through the commands: trained on and scored, or rejected in one line before anything loads."""

import csv
import json
import logging

import pytest

from fourdthinker.cli.main import main
from fourdthinker.modeling import load_model, video_messages

TRAINING = ["max_steps=1", "use_cpu=true", "bf16=false", "report_to=none", "save_strategy='no'"]
GRPO = ["per_device_train_batch_size=4", "num_generations=2", "max_completion_length=4", "beta=0"]
ANSWERS = ["left", "B", "RIGHT", "a"]


@pytest.fixture
def videos(tmp_path, make_video):
    """Names of four videos in the folder of the files."""
    for number in range(4):
        make_video(tmp_path / f"{number}.mp4", seconds=1 + number, shade=40 * number, size=(56, 56))
    return [f"{number}.mp4" for number in range(4)]


@pytest.fixture
def plain_csv(tmp_path, videos):
    with open(tmp_path / "own.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "question", "option_a", "option_b", "answer", "note"])
        for video, answer in zip(videos, ANSWERS, strict=True):
            writer.writerow([video, "Which way?", "left", "right", answer, "x"])
    return tmp_path / "own.csv"


@pytest.fixture
def llava(tmp_path, videos):
    """Four conversations, of which the last has no response."""
    question = {"from": "human", "value": "<video>\nWhich way?\nA. left\nB. right"}
    records = [
        {"id": video, "video": video, "conversations": [question, {"from": "gpt", "value": answer}]}
        for video, answer in zip(videos, ANSWERS, strict=True)
    ]
    del records[-1]["conversations"][1]
    (tmp_path / "llava.json").write_text(json.dumps(records))
    return tmp_path / "llava.json"


@pytest.fixture
def run(tmp_path, tiny_model_folder):
    def run(stage, dataset, *more, settings=()):
        words = [word for setting in (*TRAINING, *settings) for word in ("--set", setting)]
        places = ["--model", str(tiny_model_folder), "--dataset", str(dataset), "--output", str(tmp_path / "out")]
        return main([stage, *places, *(words if stage != "eval" else ["--max-new-tokens", "2"]), *more])

    return run


@pytest.mark.slow
def test_dift_learns_from_conversations_and_reports_rows_without_a_response(run, llava, tmp_path, capsys, caplog):
    assert run("dift", llava) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "1 of 4 rows cannot be trained on; the first is 3.mp4: response is null: write a text" in error
    assert not (tmp_path / "out").exists()
    settings = ["per_device_train_batch_size=3", "train_sampling_strategy=group_by_length", "precompute_videos=true"]
    settings += [f"feature_cache={tmp_path / 'cache'}", "eval_strategy=steps", "eval_steps=1", "eval_generations=2"]
    with caplog.at_level(logging.WARNING):
        assert run("dift", llava, "--on-bad-row", "skip", settings=settings) == 0
    line = next(line for line in capsys.readouterr().err.splitlines() if "llava.json: 4 rows with" in line)
    assert "response from conversations" in line and "3 responses got <answer> tags" in line
    assert "row 3.mp4 is left out: response is null: write a text" in caplog.text
    assert load_model(tmp_path / "out")
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 3  # one for each video, by its content


@pytest.mark.medium
def test_grpo_learns_from_a_table(run, plain_csv, tmp_path, capsys):
    assert run("grpo", plain_csv, settings=GRPO) == 0
    assert load_model(tmp_path / "out")
    assert "options from option_a and option_b; left out: note" in capsys.readouterr().err


def test_eval_scores_own_questions_and_decodes_each_video_once(run, plain_csv, tmp_path, monkeypatch):
    decoded = []
    read_frames = video_messages.read_frames
    monkeypatch.setattr(
        video_messages, "read_frames", lambda file, **how: decoded.append(file) or read_frames(file, **how)
    )
    assert run("eval", plain_csv) == 0
    scores = json.loads((tmp_path / "out").read_text())["tasks"][str(plain_csv)]
    assert (scores["n"], scores["chance"], list(scores["tasks"])) == (4, 0.5, ["own"])
    assert sorted(decoded) == [str(tmp_path / f"{number}.mp4") for number in range(4)]


def test_eval_rejects_questions_without_options(run, tmp_path, videos, capsys):
    (tmp_path / "own.jsonl").write_text(json.dumps({"video": videos[0], "question": "What?", "answer": "A"}))
    assert run("eval", tmp_path / "own.jsonl") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]  # before the model answers any
    assert "1 of 1 rows cannot be used; the first is own-1: options is empty: give the texts that" in error


@pytest.mark.medium
def test_a_folder_of_own_files_needs_no_card(run, plain_csv, tmp_path, capsys):
    folder = tmp_path / "folder"
    folder.mkdir()
    plain_csv.rename(folder / "train.csv")
    root = ["--image-root", str(tmp_path)]
    assert run("grpo", folder, *root, settings=[*GRPO, "eval_strategy=steps"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cannot read test rows" in error and "--held-out N" in error
    assert run("grpo", folder, *root, settings=GRPO) == 0


@pytest.mark.parametrize("stage", ["dift", "grpo", "eval"])
def test_columns_that_nothing_here_knows_are_listed(run, stage, tmp_path, capsys):
    (tmp_path / "own.jsonl").write_text(json.dumps({"clip": "a.mp4", "question": "What?"}))
    assert run(stage, tmp_path / "own.jsonl") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.endswith("there are clip, question") and "no row has a video or frames" in error


def test_other_files_of_a_built_dataset_are_not_taken_for_own_rows(run, dift_dataset, capsys):
    (dift_dataset / "quarantine.jsonl").write_text('{"clip": "walk-000", "code": "unclear"}\n')
    assert run("dift", dift_dataset, settings=["eval_strategy=steps"]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "cannot read test rows for 'dift'" in error and "quarantine" not in error
