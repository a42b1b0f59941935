"""Each kind of bad row through the commands: one line before the first step, or left out while the others go on."""

import json
import logging

import pyarrow.parquet
import pytest
import yaml
from datasets import Dataset

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.schema import MLLM4D_FEATURES
from fourdthinker.modeling import load_model

from ..bad_rows import ELEVEN, OF_ANY_STAGE, OF_DIFT, PICTURE

TRAINING = ["max_steps=1", "use_cpu=true", "bf16=false", "report_to=none", "save_strategy='no'"]
CENTERS = [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]
SCORED = {"task": ({"task": None}, "task is null: write a text")}
OPEN = {"no options": ({"options": []}, "options is empty: give the texts that were offered")}
LOCATED = {"centres": ({"camera_centers": [[0.0]]}, "camera_centers holds [[0.0]]: write two points")}
STAGES = {
    "dift": OF_ANY_STAGE | OF_DIFT,
    "grpo": OF_ANY_STAGE | LOCATED,
    "best-of-n": OF_ANY_STAGE | LOCATED | SCORED,
    "eval": OF_ANY_STAGE | SCORED | OPEN,
}


def sound_row(name, count=10):
    """A row whose last option is right."""
    options, letter = ELEVEN[:count], "ABCDEFGHIJ"[count - 1]
    response = f"<think>I see <output_image> and <output_image>.</think><answer>{letter}. {options[-1]}</answer>"
    return {
        **dict.fromkeys(MLLM4D_FEATURES["mllm4d_sft"]),
        **{"id": name, "task": "camera_motion", "question": f"How far, {name}?", "options": options, "answer": letter},
        **{"frames": [PICTURE] * 2, "timestamps": [0.0, 0.5], "response": response, "imagery": [PICTURE] * 2},
        "camera_centers": CENTERS,
    }


@pytest.fixture
def run(tmp_path, tiny_model_folder, monkeypatch):
    """Runs a command on rows of which the first and the last are sound, with ten options and with two."""

    def run(stage, *more):
        cases = STAGES[stage]
        rows = [sound_row("ten"), *({**sound_row(f"bad {name}", 4), **case} for name, (case, _) in cases.items())]
        rows.append(sound_row("two", 2))
        configuration = {"best-of-n": "mllm4d_grpo", "eval": "grpo"}.get(stage, stage)
        split = "test" if stage == "eval" else "train"
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        table = Dataset.from_list(rows, features=MLLM4D_FEATURES["mllm4d_sft"]).data.table
        pyarrow.parquet.write_table(
            table, folder / "rows.parquet"
        )  # as it is: files that are missing are not looked for
        files = [{"split": split, "path": "rows.parquet"}]
        card = yaml.safe_dump({"configs": [{"config_name": configuration, "data_files": files}]})
        (folder / "README.md").write_text(f"---\n{card}---\n")
        monkeypatch.setenv("FOURD_WORLD_DATA", str(folder))
        # `datasets` finds what it has read by a folder's name and card, not by its content.
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        places = ["--dataset", str(folder), "--output", str(tmp_path / "out")]
        model = ["--model", str(tiny_model_folder)]
        settings = [word for setting in TRAINING for word in ("--set", setting)]
        arguments = {
            "dift": [*places, *model, *settings, "--set", "per_device_train_batch_size=2"],
            "grpo": [
                *places,
                *model,
                *settings,
                "--set",
                "per_device_train_batch_size=4",
                "--set",
                "num_generations=2",
            ]
            + ["--set", "max_completion_length=4", "--set", "beta=0"],
            "best-of-n": [*places, "--paths", str(tmp_path / "paths.jsonl"), "--threshold", "0.1"],
            "eval": [*model, "--max-new-tokens", "2", "--output", str(tmp_path / "out")],
        }
        response = {row["id"]: row["response"].replace("<output_image>", "it") for row in (rows[0], rows[-1])}
        paths = [{"id": name, "path": path} for name, path in {**response, "bad no frames": "B"}.items()]
        (tmp_path / "paths.jsonl").write_text("\n".join(map(json.dumps, paths)))
        return main([stage, *arguments[stage], *more])

    return run


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_bad_row_stops_before_the_first_step_or_is_left_out(run, stage, tmp_path, capsys, caplog):
    assert run(stage) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    count = f"{len(STAGES[stage])} of {len(STAGES[stage]) + 2} rows cannot be"
    assert error.startswith(f"fourdthinker: error: {count}") and error.endswith("(--on-bad-row skip leaves them out)")
    assert "the first is bad no frames: it has no frames: give one image at least" in error
    assert not (tmp_path / "out").exists()
    with caplog.at_level(logging.WARNING):
        assert run(stage, "--on-bad-row", "skip") == 0
    messages = [record.getMessage() for record in caplog.records]
    for number, (name, (case, words)) in enumerate(STAGES[stage].items(), start=2):
        named = f"number {number}" if "id" in case else f"bad {name}"
        assert any(line.startswith(f"row {named} is left out: ") and words in line for line in messages), name
    assert f"{count} " in messages[-1] or any(line.startswith(count) for line in messages)
    if stage == "eval":
        assert json.loads((tmp_path / "out").read_text())["tasks"]["fourd_world"]["n"] == 2
    elif stage == "best-of-n":
        kept = pyarrow.parquet.read_table(next((tmp_path / "out").rglob("*.parquet")))
        assert kept["id"].to_pylist() == ["ten", "two"]
    else:
        assert load_model(tmp_path / "out")


@pytest.mark.parametrize("stage", ["dift", "grpo"])
def test_published_rows_name_files_inside_their_folder(stage, tmp_path, tiny_model_folder, capsys):
    (tmp_path / "rows").mkdir()
    names = {"image_input": ["../f.png"], "image_output": [], "frame_paths": ["../f.png"]}
    row = {"text_input": "?", "text_output": "<answer>A</answer>", "Question": "?", "A": "a", "B": "b", "Correct": "A"}
    (tmp_path / "rows" / "rows.jsonl").write_text(json.dumps({"id": "r", **row, **names}))
    places = ["--dataset", str(tmp_path / "rows" / "rows.jsonl"), "--output", str(tmp_path / "out")]
    assert (
        main([stage, "--model", str(tiny_model_folder), *places, "--set", "use_cpu=true", "--set", "bf16=false"]) == 2
    )
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "rows.jsonl, line 1, row r: " in error and "names '../f.png', which has `..` in it" in error
    assert "--image-root" in error and "--on-bad-row skip" in error and not (tmp_path / "out").exists()
