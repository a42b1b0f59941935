"""MLLM-4D end to end at toy sizes: its rows, three stages and filter, by the commands that a user would type."""

import json
from pathlib import Path

import pytest
from datasets import load_dataset

from fourdthinker.cli.main import main
from fourdthinker.modeling import load_model

RECIPES = Path(__file__).resolve().parents[2] / "recipes" / "mllm4d" / "demo"
PARTS = [f"rewards/spatiotemporal/{part}" for part in ("accuracy", "format", "camera", "object")]


@pytest.mark.slow
def test_the_three_stages_and_the_filter_go_all_the_way(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pybullet", reason="the rendered world needs the world extra")
    monkeypatch.chdir(tmp_path)

    def run(command, *arguments):
        assert main([command, *map(str, arguments)]) == 0
        return capsys.readouterr().out

    def train(command, stage, **settings):
        changes = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        run(command, "--config", RECIPES / f"{stage}.yaml", *changes)
        folder = tmp_path / "demo-mllm4d" / stage
        assert load_model(folder) and (folder / "README.md").is_file()
        assert (folder / "training.png").is_file() == (settings["max_steps"] > 1)
        return json.loads((folder / "training_log.json").read_text())["log_history"]

    demo = tmp_path / "demo-mllm4d"
    run("init", "--tiny", "--output", demo / "backbone")
    sizes = ["--clips", 4, "--held-out", 1, "--answer", "text"]
    printed = run(
        "build-data", "--source", "world", "--questions", "mllm4d", *sizes, "--output", demo / "data", "--records"
    )
    assert f"MLLM4D_BENCH_ROOT={demo / 'data/records'}" in printed
    assert len((demo / "data/records/records.jsonl").read_text().splitlines()) == 7
    assert "mllm4d_sft, train: 28 rows" in printed and "mllm4d_grpo, test: 7 rows" in printed

    short = train("dift", "sft", max_steps=2, per_device_train_batch_size=4, logging_steps=1)
    long = train("dift", "cold_start", max_steps=2, per_device_train_batch_size=4, logging_steps=1)
    for log in (short, long):
        assert log[0]["sim_loss"] == 0 and log[0]["ce_loss"] > 0, "latents off"
    batch = {"per_device_train_batch_size": 4, "num_generations": 2, "max_completion_length": 24}
    paid = train("grpo", "grpo", max_steps=1, **batch)[0]
    assert {"rewards/spatiotemporal_reward/mean", *PARTS} <= paid.keys()
    assert paid["latents/blocks_per_completion"] == 0

    # A right and a wrong path for each of GRPO's questions, in the tags of others.
    questions = load_dataset(str(demo / "data"), "mllm4d_grpo", split="train", cache_dir=str(tmp_path / "cache"))
    paths = tmp_path / "paths.jsonl"
    with paths.open("w") as file:
        for row in questions.remove_columns("frames"):
            answers = [row["answer"], "ABC"[row["answer"] == "A"]]
            texts = [f"<thinking>I look at it.</thinking><answer>{answer}</answer>" for answer in answers]
            file.write(json.dumps({"id": row["id"], "paths": texts}) + "\n")
    printed = run("best-of-n", "--paths", paths, "--dataset", demo / "data", "--output", demo / "best")
    assert f"{len(questions)} rows written" in printed and printed.count("\nobject_camera_") == 4
    run("dift", "--config", RECIPES / "cold_start.yaml", "--dataset", demo / "best", "--output", demo / "again",
        "--set", "max_steps=1", "--set", "per_device_train_batch_size=2")  # fmt: skip
    assert load_model(demo / "again")
