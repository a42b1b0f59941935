"""The same answers in any batches, one process or two, any order of tasks, also from a half-precision model."""

import json
import os
import socket
import subprocess
import sys

import pytest

from fourdthinker.cli.init import TINY_TRAINED
from fourdthinker.cli.main import main
from fourdthinker.eval_tasks.precision import choose_dtype

pytestmark = pytest.mark.slow


def test_half_precision_is_for_devices_that_are_faster_with_it():
    assert choose_dtype(None, "cpu") == choose_dtype("float32", "cuda:1") == "float32"
    assert choose_dtype(None, "cuda:1") == choose_dtype("auto", "cpu") == "auto"


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Twelve questions of the kind that the shipped model was trained for."""
    from fourdthinker.dataset_builders.fourd_cot import build_world

    pytest.importorskip("pybullet", reason="needs the extra `world`")
    folder = tmp_path_factory.mktemp("rendered") / "world"
    folder.mkdir()
    build_world(folder, clips={"test": 6}, configurations=("grpo",))
    return folder


def test_the_shipped_model_answers_alike_in_batches_of_any_size(rendered, tmp_path, monkeypatch):
    monkeypatch.setenv("FOURD_WORLD_DATA", str(rendered))
    said = []
    for size in (1, 4, 32):
        answers, scores = tmp_path / f"{size}.jsonl", tmp_path / f"{size}.json"
        arguments = ["--batch-size", str(size), "--answers", str(answers), "--output", str(scores)]
        assert main(["eval", "--model", str(TINY_TRAINED), "--tasks", "fourd_world", *arguments]) == 0
        report = json.loads(scores.read_text())["tasks"]["fourd_world"]
        assert report["settings"]["dtype"] == "float32", "the checkpoint is in bfloat16"
        said.append(answers.read_text())
    assert said[0] == said[1] == said[2]
    assert len({json.loads(line)["response"] for line in said[0].splitlines()}) > 6


def run_lmms_eval(folder, environment, *launcher, tasks, batch_size):
    """The samples of each task: answers by the number of the row."""
    folder.mkdir()
    command = [*launcher, "-m", "lmms_eval", "--model", "fourdthinker", "--tasks", tasks, "--log_samples"]
    command += ["--model_args", f"pretrained={TINY_TRAINED},max_new_tokens=48,journal=none"]
    command += ["--batch_size", str(batch_size), "--output_path", str(folder)]
    variables = {**os.environ, **environment, "OMP_NUM_THREADS": "1", "HF_HOME": str(folder)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=590, cwd=folder)
    found = {}
    for path in folder.rglob("*_samples_*.jsonl"):
        samples = map(json.loads, path.read_text().splitlines())
        answers = sorted((sample["doc_id"], sample["filtered_resps"]) for sample in samples)
        found[path.stem.partition("_samples_")[2]] = answers
    assert found.keys() == set(tasks.split(",")), done.stdout[-2000:] + done.stderr[-4000:]
    return found


def test_processes_batches_and_the_order_of_tasks_change_no_answer(world_folder, dsr_folder, tmp_path):
    pytest.importorskip("lmms_eval", reason="needs the extra `eval`")
    data = {"FOURD_WORLD_DATA": str(world_folder), "DSR_BENCH_ROOT": str(dsr_folder)}
    alone = run_lmms_eval(tmp_path / "alone", data, sys.executable, tasks="fourd_world,dsr_bench_1fps", batch_size=1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}")
    both = run_lmms_eval(tmp_path / "both", data, *torchrun, tasks="dsr_bench_1fps,fourd_world", batch_size=4)
    assert both == alone
    for answers in alone.values():
        assert len({answer for _, answer in answers}) > 2, "all are answered alike, which tests nothing"
