"""The installed commands, end to end: lmms-eval's and ours must report the very same numbers."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("lmms_eval", reason="needs the extra `eval`")
pytestmark = pytest.mark.slow

BIN = Path(sys.executable).parent
NAMES = ("accuracy", "camera_motion", "object_motion")


def run_command(*command: str, world: Path, home: Path, code: int = 0, **environment: str):
    variables = {"FOURD_WORLD_DATA": str(world), "HF_HOME": str(home), "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=600,
        cwd=home,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def letter_model_folder(tmp_path_factory, talking_model_folder, only_letters):
    """A random model held to letters, so that it answers questions, each as its clip happens to fall.

    Its generation config asks for what would change every answer, and for decoding without a cache.
    """
    from fourdthinker.modeling import load_model

    model, processor = load_model(talking_model_folder)
    only_letters(model, processor)
    folder = tmp_path_factory.mktemp("letters") / "model"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    path = folder / "generation_config.json"
    letters = processor.tokenizer.convert_tokens_to_ids(list("ABCD"))
    suggested = {"suppress_tokens": letters, "use_cache": False, "num_return_sequences": 2, "do_sample": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), **suggested}))
    return folder


def our_numbers(output: Path) -> dict[str, float]:
    scores = json.loads(output.read_text())["tasks"]["fourd_world"]
    return {"accuracy": scores["accuracy"], **{name: task["accuracy"] for name, task in scores["tasks"].items()}}


def lmms_eval_file(folder: Path, ending: str, done: subprocess.CompletedProcess) -> Path:
    """The file that lmms-eval wrote: it ends with code 0 after an error too, so only the file shows that it ran."""
    found = list(folder.rglob(f"*_{ending}"))
    assert len(found) == 1, done.stdout + done.stderr
    return found[0]


def their_numbers(folder: Path, done: subprocess.CompletedProcess) -> dict[str, float]:
    path = lmms_eval_file(folder, "results.json", done)
    results = json.loads(path.read_text())["results"]["fourd_world"]
    return {name: results[f"{name},none"] for name in NAMES}


def test_both_commands_give_the_same_numbers(letter_model_folder, world_folder, tmp_path):
    run = partial(run_command, world=world_folder, home=tmp_path)
    run(
        *("fourdthinker", "eval", "--model", str(letter_model_folder), "--tasks", "fourd_world"),
        *("--max-new-tokens", "1", "--batch-size", "3", "--output", "scores/ours.json"),
    )
    done = run(
        *("lmms_eval", "--model", "fourdthinker", "--model_args", f"pretrained={letter_model_folder}"),
        *("--tasks", "fourd_world", "--batch_size", "3", "--gen_kwargs", "max_new_tokens=1"),
        *("--output_path", "theirs"),
    )
    ours, theirs = our_numbers(tmp_path / "scores" / "ours.json"), their_numbers(tmp_path / "theirs", done)
    assert ours == theirs
    assert 0 < ours["accuracy"] < 1, "scores of 0 or 1 would hide a difference"


def test_both_commands_decode_the_same_responses(talking_model_folder, world_folder, tmp_path):
    from fourdthinker.eval_tasks.fourd_world import read_rows
    from fourdthinker.eval_tasks.predict import predict
    from fourdthinker.modeling import load_model

    done = run_command(
        *("lmms_eval", "--model", "fourdthinker", "--model_args", f"pretrained={talking_model_folder}"),
        *("--tasks", "fourd_world", "--batch_size", "32", "--limit", "5", "--gen_kwargs", "max_new_tokens=24"),
        *("--output_path", "theirs", "--log_samples"),
        world=world_folder,
        home=tmp_path,
    )
    assert "fourd_world" in done.stdout
    path = lmms_eval_file(tmp_path / "theirs", "samples_fourd_world.jsonl", done)
    samples = sorted(map(json.loads, path.read_text().splitlines()), key=lambda sample: sample["doc_id"])
    rows = read_rows(world_folder).select(range(5))
    responses = predict(*load_model(talking_model_folder), rows, max_new_tokens=24, progress=False)
    assert [sample["filtered_resps"] for sample in samples] == responses
    assert [sample["target"] for sample in samples] == rows["answer"]
    assert len(set(responses)) > 1


@pytest.mark.parametrize(
    "arguments,message",
    [
        (("--model", "nowhere"), "nowhere"),
        (("--model", "MODEL", "--tasks", "fourd_wurld"), "unknown task 'fourd_wurld': choose from fourd_world"),
        (("--model", "MODEL", "--limit", "0"), "--limit must be at least 1"),
        (("--model", "MODEL", "--batch-size", "0", "--output", "scores.json"), "must be positive"),
        (("--model", "MODEL", "--output", "."), "is a folder"),
        (("--model", "MODEL", "--latents", "some"), "invalid choice: 'some'"),
    ],
)
def test_bad_input_ends_in_one_line(arguments, message, talking_model_folder, world_folder, tmp_path):
    arguments = [str(talking_model_folder) if word == "MODEL" else word for word in arguments]
    done = run_command("fourdthinker", "eval", *arguments, world=world_folder, home=tmp_path, code=2)
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("*scores*"))


def test_tasks_dir_prints_the_folder_and_loads_no_torch(world_folder, tmp_path):
    printed = run_command("fourdthinker", "tasks-dir", world=world_folder, home=tmp_path).stdout.strip()
    assert (Path(printed) / "fourd_world.yaml").is_file()
    code = "import sys; from fourdthinker.cli.main import main; main(['tasks-dir']); assert 'torch' not in sys.modules"
    run_command("python", "-c", code, world=world_folder, home=tmp_path)
