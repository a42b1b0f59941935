"""lmms-eval killed in the middle and run again, in two processes: the samples of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("lmms_eval", reason="needs the extra `eval`")
pytestmark = pytest.mark.slow

TASK = ("--tasks", "fourd_world", "--batch_size", "1", "--gen_kwargs", "max_new_tokens=40", "--log_samples")
TWO = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--main_process_port", "0")


def start(model, world, home, output, *launcher):
    command = [sys.executable, *launcher, "-m", "lmms_eval", "--model", "fourdthinker", *TASK]
    command += ["--model_args", f"pretrained={model},journal={home / 'journal'}", "--output_path", str(output)]
    environment = {"FOURD_WORLD_DATA": str(world), "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
    log = open(home / f"{output.name}.log", "w")  # noqa: SIM115: read when the process fails
    return subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=log, stderr=log, cwd=home, start_new_session=True
    )


def samples(home, output):
    found = list(output.rglob("*_samples_fourd_world.jsonl"))
    assert len(found) == 1, (home / f"{output.name}.log").read_text()[-3000:]
    rows = map(json.loads, found[0].read_text().splitlines())
    return sorted((row["doc_id"], row["filtered_resps"], row["target"]) for row in rows)


def lines(home):
    return sum(path.read_bytes().count(b"\n") for path in (home / "journal").rglob("*.jsonl"))


def test_a_run_in_two_processes_that_was_killed_ends_as_one_that_was_not(talking_model_folder, world_folder, tmp_path):
    plain, disturbed = tmp_path / "plain", tmp_path / "disturbed"
    for home in (plain, disturbed):
        home.mkdir()
    assert start(talking_model_folder, world_folder, plain, plain / "out").wait(timeout=600) == 0
    assert lines(plain) == 8
    killed = start(talking_model_folder, world_folder, disturbed, disturbed / "first", *TWO)
    while lines(disturbed) < 2 and killed.poll() is None:
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = lines(disturbed)
    assert 2 <= kept < 8, "the kill came before or after the answers, so nothing is tested"
    again = start(talking_model_folder, world_folder, disturbed, disturbed / "second", *TWO)
    assert again.wait(timeout=600) == 0
    assert samples(disturbed, disturbed / "second") == samples(plain, plain / "out")
    assert lines(disturbed) == 8, "nothing that was kept is asked again"
