"""Finished answers survive whatever ends the process, and only the very same question finds them again."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from fourdthinker.eval_tasks import fourd_world
from fourdthinker.eval_tasks.journal import Journal, open_journal
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling.errors import InputError


def test_answers_are_found_again_and_a_torn_line_is_none(tmp_path):
    journal = Journal(tmp_path / "run")
    assert journal.get("a") is None and not (tmp_path / "run").exists(), "nothing is written before an answer is there"
    journal.add({"a": "left\nand\u2028right", "b": "", "c": "\ud800 half a pair"})
    journal.add({"d": "up"})
    again = Journal(tmp_path / "run")
    assert [again.get(key) for key in "abcd"] == ["left\nand\u2028right", "", "\ud800 half a pair", "up"]
    (file,) = (tmp_path / "run").iterdir()
    content = file.read_bytes()
    for length in range(len(content)):
        file.write_bytes(content[:length])
        kept = Journal(tmp_path / "run")
        assert len(kept) in (content[:length].count(b"\n"), content[:length].count(b"\n") + 1)
        assert set(kept._answers.items()) <= set(again._answers.items())
    Journal(tmp_path / "run").add({"e": "down"})
    assert Journal(tmp_path / "run").get("e") == "down", "a process that comes after a torn line is not torn with it"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="^cannot write answers to .*FOURDTHINKER_JOURNAL, or set it to none$"):
        Journal(tmp_path / "file" / "run").add({"a": "left"})


def test_another_model_or_setting_shares_nothing(talking, tmp_path, monkeypatch):
    model, processor = talking

    def folder(**settings):
        return open_journal(model, processor, settings, tmp_path).folder

    own = folder(latents="own")
    assert folder(latents="own") == own and folder(latents="zero") != own
    with torch.no_grad():
        weight = model.lm_head.weight[0, 0].clone()
        model.lm_head.weight[0, 0] += 1e-3
        changed = folder(latents="own")
        model.lm_head.weight[0, 0] = weight
    assert changed != own == folder(latents="own")
    monkeypatch.setenv("FOURDTHINKER_JOURNAL", "none")
    assert open_journal(model, processor, {}) is None
    monkeypatch.setenv("FOURDTHINKER_JOURNAL", str(tmp_path / "named"))
    assert open_journal(model, processor, {}).folder.parent == tmp_path / "named"


@pytest.mark.medium
def test_only_what_is_new_is_asked(talking, world_folder, tmp_path, monkeypatch):
    model, processor = talking
    rows, asked, generate = fourd_world.read_rows(world_folder), [], model.generate

    def count(*args, **kwargs):
        asked.append(len(kwargs["input_ids"]))
        return generate(*args, **kwargs)

    monkeypatch.setattr(model, "generate", count)

    def ask(rows, **settings):
        asked.clear()
        benchmark = settings.pop("benchmark", fourd_world.FOURD_WORLD)
        length = settings.pop("max_new_tokens", 6)
        answers = predict(
            model,
            processor,
            rows,
            3,
            length,
            progress=False,
            benchmark=benchmark,
            journal=Journal(tmp_path),
            **settings,
        )
        return answers, sum(asked)

    first, count_first = ask(rows)
    assert count_first == 8 and ask(rows) == (first, 0)
    assert ask(rows.select([5, 2])) == ([first[5], first[2]], 0)
    changed = rows.to_list()
    changed[1]["timestamps"] = [2 * time for time in changed[1]["timestamps"]]
    changed[2]["frames"] = changed[2]["frames"][:-1] + changed[2]["frames"][:1]
    changed[3]["options"] = changed[3]["options"][::-1]
    assert ask(changed)[1] == 3, "a row with other times, one with another frame, one with other words"
    assert ask(rows, max_new_tokens=5)[1] == 8
    assert ask(rows, standing_still=True)[1] == 8
    assert ask(rows, max_pixels=784)[1] == 8
    assert ask(rows, benchmark=replace(fourd_world.FOURD_WORLD, version=3))[1] == 8


KILLED = """
import json, os, random, signal, sys, time
import torch
torch.set_num_threads(1)
from fourdthinker.eval_tasks import fourd_world
from fourdthinker.eval_tasks.journal import Journal
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.modeling import load_model

model, processor = load_model(sys.argv[1])
rows, generate = fourd_world.read_rows(sys.argv[2]), model.generate
log = None

def count(*args, **kwargs):
    if log is not None:
        os.write(log, b".")
    return generate(*args, **kwargs)

model.generate = count

def ask(place):
    return predict(model, processor, rows, 2, 8, progress=False, journal=place and Journal(place))

undisturbed = ask(None)
started = time.perf_counter()
assert ask(None) == undisturbed
whole = time.perf_counter() - started
outcome = []
for turn in range(20):
    place = os.path.join(sys.argv[3], str(turn))
    os.makedirs(place)
    log = os.open(place + ".log", os.O_CREAT | os.O_APPEND | os.O_RDWR)
    child = os.fork()
    if child == 0:
        try:
            ask(place)
        finally:
            os._exit(0)
    time.sleep(random.Random(turn).uniform(0, whole))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    before, kept = os.fstat(log).st_size, len(Journal(place))
    again = ask(place)
    after = os.fstat(log).st_size - before
    outcome.append({"same": again == undisturbed, "batches": before + after, "killed_within": kept < 8})
print(json.dumps(outcome))
"""


@pytest.mark.slow
def test_killed_at_any_point_it_goes_on_where_it_was(talking_model_folder, world_folder, tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-c", KILLED, str(talking_model_folder), str(world_folder), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert len(outcome) == 20 and all(turn["same"] for turn in outcome)
    assert {turn["batches"] for turn in outcome} <= {4, 5}, "at most one of four batches is repeated"
    assert any(turn["killed_within"] for turn in outcome), "all children had finished, so nothing was tested"
