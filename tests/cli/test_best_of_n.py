"""`fourdthinker best-of-n`: from rows and a model, or a file of paths, to rows that the cold start trains on."""

import json

import numpy as np
import pytest
import yaml
from datasets import load_dataset
from PIL import Image

from fourdthinker.cli.main import main
from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.modeling import load_model
from fourdthinker.modeling.tokens import format_spatial_state

OPTIONS = ["1.00 m", "2.00 m", "3.00 m", "4.00 m"]
CENTERS = [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]
TASKS = ("camera_distance", "camera_direction")


def make_row(number):
    draw = np.random.default_rng(number)
    return {
        "id": f"row-{number}",
        "source": "test",
        "task": TASKS[number % 2],
        "question": f"How far, {number}?",
        "options": OPTIONS,
        "answer": "B",
        "frames": [Image.fromarray(draw.integers(0, 255, (56, 56, 3), dtype=np.uint8)) for _ in range(2)],
        "timestamps": [0.0, 0.5],
        "facts": "{}",
        "camera_centers": CENTERS,
        "object_centers": [None, None],
    }


def path(answer="B", end=CENTERS[1]):
    states = f"{format_spatial_state(0, CENTERS[0], None)}\nLater:\n{format_spatial_state(1, end, None)}"
    return f"<think>It moves on. {states}</think><answer>{answer}</answer>"


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_dataset({"mllm4d_grpo": {"train": [make_row(number) for number in range(6)]}}, folder)
    return folder


@pytest.fixture
def best_of_n(tmp_path, dataset):
    def run(*arguments, output="best"):
        places = ["--dataset", str(dataset), "--output", str(tmp_path / output)]
        return main(["best-of-n", *places, *map(str, arguments)])

    return run


@pytest.fixture
def paths(tmp_path):
    """Paths of all rows but one: of camera_distance 1.0 and 0.4 at best, of camera_direction 1.0 three times."""
    file = tmp_path / "paths.jsonl"
    paths = {"row-0": [path("A"), path()], "row-2": [path("A"), "C"], **{f"row-{n}": [path()] for n in (1, 3, 5)}}
    file.write_text("".join(json.dumps({"id": identity, "paths": some}) + "\n" for identity, some in paths.items()))
    return file


def ids(folder, tmp_path):
    rows = load_dataset(str(folder), "mllm4d_cold_start", split="train", cache_dir=str(tmp_path / "cache"))
    return rows["id"], rows


def test_paths_of_a_file_are_filtered_into_rows(best_of_n, paths, tmp_path, dataset, capsys):
    assert best_of_n("--paths", paths) == 0
    printed = capsys.readouterr().out
    table = {line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.startswith(("cam", "all"))}
    assert table == {
        "camera_direction": ["3", "3", "1.000", "1.000", "1.000"],
        "camera_distance": ["2", "1", "0.700", "0.450", "0.700"],
        "all": ["5", "4", "0.686", "0.880"],
    }
    assert "without a path: 1 row\n" in printed and f"4 rows written to {tmp_path / 'best'}" in printed
    kept, rows = ids(tmp_path / "best", tmp_path)
    assert kept == ["row-0", "row-1", "row-3", "row-5"]
    assert set(rows["response"]) == {path()} and rows["imagery"] == [[]] * 4
    assert rows[0]["camera_centers"] == CENTERS and rows[0]["object_centers"] == [None, None]
    source_rows = load_dataset(str(dataset), "mllm4d_grpo", split="train", cache_dir=str(tmp_path / "cache"))
    assert rows[0]["frames"][0].tobytes() == source_rows[0]["frames"][0].tobytes()


def test_thresholds_hold_for_their_type(best_of_n, paths, tmp_path):
    assert best_of_n("--paths", paths, "--threshold", 0.9, "camera_distance=0.4") == 0
    assert ids(tmp_path / "best", tmp_path)[0] == ["row-0", "row-1", "row-2", "row-3", "row-5"]


@pytest.mark.parametrize(
    ("response", "threshold", "words"),
    [
        (path("A"), 0.9, "no path reaches its threshold, so nothing was written: lower it with --threshold"),
        ("It is B.", 0, "</answer>, so nothing was written: give paths of that form"),
    ],
)
def test_nothing_kept_is_explained_with_its_remedy(best_of_n, tmp_path, capsys, response, threshold, words):
    file = tmp_path / "paths.jsonl"
    file.write_text("".join(json.dumps({"id": f"row-{n}", "paths": [response]}) + "\n" for n in range(6)))
    assert best_of_n("--paths", file, "--threshold", threshold) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "best").exists()


@pytest.mark.medium
def test_the_cold_start_trains_on_what_is_kept(best_of_n, paths, tmp_path, tiny_model_folder):
    assert best_of_n("--paths", paths) == 0
    recipe = {"model": str(tiny_model_folder), "dataset": str(tmp_path / "best"), "output": str(tmp_path / "out")}
    recipe |= {"dataset_config": "mllm4d_cold_start", "drop_imagery": True, "per_device_train_batch_size": 2}
    recipe |= {"max_steps": 1, "use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no"}
    (tmp_path / "cold.yaml").write_text(yaml.safe_dump(recipe))
    assert main(["dift", "--config", str(tmp_path / "cold.yaml")]) == 0
    assert load_model(tmp_path / "out")


SAMPLED = ("--n", 2, "--max-new-tokens", 6, "--batch-size", 4)


@pytest.mark.medium
def test_a_model_samples_paths_that_are_kept_beside(best_of_n, tmp_path, tiny_model_folder, capsys):
    """A random model says nothing that earns; what it said stays, for another threshold."""
    assert best_of_n("--model", tiny_model_folder, *SAMPLED) == 2
    printed = capsys.readouterr()
    assert "all" in printed.out and "no path is of the form <think>…</think><answer>…</answer>" in printed.err
    assert "train the model for longer on rows of mllm4d_cold_start" in printed.err
    file = tmp_path / "best-paths.jsonl"
    lines = file.read_text().splitlines()
    sampled = [json.loads(line) for line in lines]
    assert [line["id"] for line in sampled] == [f"row-{number}" for number in range(6)]
    texts = [text for line in sampled for text in line["paths"]]
    assert len(texts) == 12 and len(set(texts)) > 6, "sampled, not greedy"
    assert not [text for text in texts if "<|latent" in text]
    assert not (tmp_path / "best").exists()

    # What an interruption leaves: the first batch. The run goes on with the second, as if nothing had been.
    file.write_bytes(("\n".join(lines[:4]) + "\n" + lines[4][:20] + "é").encode()[:-1])
    assert best_of_n("--model", tiny_model_folder, *SAMPLED) == 2
    assert file.read_text().splitlines() == lines
    assert best_of_n("--model", tiny_model_folder, *SAMPLED, "--seed", 1) == 2
    assert "sampled otherwise" in capsys.readouterr().err
    # The same file with a path that earns.
    with file.open("a") as more:
        more.write(json.dumps({"id": "row-3", "path": path()}) + "\n")
    assert best_of_n("--paths", file) == 0
    assert ids(tmp_path / "best", tmp_path)[0] == ["row-3"]


def test_bad_input_ends_in_one_line(best_of_n, paths, tmp_path, dataset, capsys):
    plain = tmp_path / "plain"
    plain.mkdir()
    row = make_row(0)
    write_dataset({"grpo": {"train": [row]}}, plain)
    model = ("--model", tmp_path / "nowhere")
    for arguments, words in [
        (["--paths", tmp_path / "nowhere.jsonl"], "cannot read"),
        (["--paths", paths, "--threshold", "2"], "--threshold 2: write a reward between 0 and 1"),
        (["--paths", paths, "--threshold", "nan"], "--threshold nan: write a reward"),
        (["--paths", paths, "--threshold", "speed=0.5"], "'speed', but the rows are of camera_direction, camera_dist"),
        (["--paths", paths, "--n", 2], "--n goes with --model"),
        (["--paths", paths, "--limit", 0], "--limit must be at least 1"),
        (["--paths", paths, "--dataset", plain, "--dataset-config", "grpo"], "has no column camera_centers, object_c"),
        (["--paths", paths, "--dataset-config", "grpo"], "cannot read train rows for 'grpo'"),
        (["--paths", paths, "--output", dataset], "exists already"),
        ([*model, "--n", 0], "--n must be at least 1"),
        ([*model, "--temperature", 0], "--temperature must be positive"),
        ([*model, "--seed", -1], "--seed must be between 0 and 2147483647"),
        ([*model, "--seed", 2**63], "--seed must be between 0 and 2147483647"),
        (model, "there is no model folder"),
    ]:
        assert best_of_n(*arguments) == 2, arguments
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("fourdthinker: error: ") and words in error, error
    assert not (tmp_path / "best").exists() and not (tmp_path / "best-paths.jsonl").exists()


@pytest.mark.parametrize("content", ['{"id": "row-0", "paths": ["mine"]}', '{"id": "row-0", "paths": ["mine"]}\n{"id'])
def test_a_file_of_other_paths_in_the_place_is_left_as_it_is(best_of_n, tmp_path, tiny_model_folder, capsys, content):
    file = tmp_path / "best-paths.jsonl"
    file.write_text(content)
    assert best_of_n("--model", tiny_model_folder, *SAMPLED) == 2
    assert "sampled otherwise" in capsys.readouterr().err
    assert file.read_text() == content
    file.unlink()
    file.mkdir()
    assert best_of_n("--model", tiny_model_folder, *SAMPLED) == 2
    assert "best-paths.jsonl (Is a directory): name another --output" in capsys.readouterr().err
