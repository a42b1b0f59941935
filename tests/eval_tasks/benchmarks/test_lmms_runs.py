"""Small copies of the benchmarks under lmms-eval, answered by its stock model `dummy`."""

import csv
import json
import os
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest

from fourdthinker.eval_tasks.benchmarks import dsi_bench, sti_bench, vlm4d
from fourdthinker.eval_tasks.tasks import find_benchmark, task_rows
from fourdthinker.eval_tasks.videos import read_row_clip

pytest.importorskip("lmms_eval", reason="needs the extra `eval`")

WAYS = ["left", "right", "up", "down"]
HUB = "https://huggingface.co/datasets/shijiezhou/VLM4D/resolve/main"
TASKS = ("vlm4d", "vlm4d_cot_frames", "sti_bench", "dsi_bench", "dsi_bench_std_frames", "fourd_mllm4d_bench")


def write_vlm4d(folder, make_video):
    """Three real questions, of which the last has no video, and two about generated videos."""
    (folder / "videos_real").mkdir(parents=True)
    (folder / "videos_synthetic").mkdir()
    make_video(folder / "videos_real/a.mp4", seconds=2)
    make_video(folder / "videos_synthetic/a b.mp4", seconds=2)
    choices = dict(zip("ABCD", WAYS, strict=True))

    def row(number, video, **columns):
        row = {"id": f"validation_{number}", "video": f"{HUB}/{video}", "question": "Which way?"}
        return {**row, "choices": choices, "answer": "right", **columns}

    counted = {"choices": {"A": 1, "B": 2, "C": 0, "D": 3}, "answer": 0}
    real = [row(1, "videos_real/a.mp4"), row(2, "videos_real/a.mp4", **counted), row(923, "videos_real/gone.mp4")]
    no = {"choices": {**choices, "C": "no"}, "answer": "no"}
    synthetic = [row(1, "videos_synthetic/a%20b.mp4"), row(2, "videos_synthetic/a%20b.mp4", **no)]
    (folder / "QA").mkdir()
    (folder / "QA/real_mc.json").write_text(json.dumps(real))
    (folder / "QA/synthetic_mc.json").write_text(json.dumps(synthetic))


def write_sti(folder, make_video):
    """A question of each type."""
    (folder / "video").mkdir(parents=True)
    make_video(folder / "video/scene1.mp4", seconds=2)
    row = {"Video": "scene1.mp4", "Question": "How far?", "time_start": 0.0, "time_end": 2.0, "Answer": "E"}
    row["Candidates"] = json.dumps(dict(zip("ABCDE", ["1 m", "2 m", "3 m", "4 m", "5 m"], strict=True)))
    rows = [{**row, "ID": number, "Task": task} for number, task in enumerate(sti_bench.TYPES)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "qa.parquet")


def write_dsi(folder, make_video):
    """Two questions in four variants each; B is right in three variants of the first, and in one of the second."""
    (folder / "metadatas").mkdir(parents=True)
    for number, variant in enumerate(dsi_bench.VARIANTS):
        (folder / f"videos/{variant}/k700").mkdir(parents=True)
        make_video(folder / f"videos/{variant}/k700/a b.mp4", seconds=2, rate=10, shade=40 * number)
        with open(folder / f"metadatas/{variant}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["relative_path", "cate", "video_type", "question", "options", "GT", "others"])
            for category, keys in ((0, "BBBA"), (4, "ABCD")):
                options = "A: left;B: right;C: up;D: down;"
                writer.writerow(["k700/a b.mp4", category, "0.0", "Which way?", options, keys[number], ""])


def write_mllm4d(folder, make_video):
    """Two records."""
    (folder / "videos").mkdir(parents=True)
    make_video(folder / "videos/a.mp4", seconds=2)
    said = "<video>\n{}\nOptions: A. 1 m\nB. 2 m\nC. 3 m\nD. 4 m"
    questions = ["How far did the camera move?", "How far did the dog move?"]
    records = [
        {
            "messages": [{"role": "user", "content": said.format(question)}],
            "videos": ["videos/a.mp4"],
            "solution": [{"answer": "B", "camera_center": [[0, 0, 0], [0.5, 0, 1]], "object_center": [None, None]}],
        }
        for question in questions
    ]
    (folder / "bench.jsonl").write_text("\n".join(map(json.dumps, records)))


WRITERS = {
    "VLM4D_ROOT": write_vlm4d,
    "STI_BENCH_ROOT": write_sti,
    "DSI_BENCH_ROOT": write_dsi,
    "MLLM4D_BENCH_ROOT": write_mllm4d,
}


@pytest.fixture(scope="module")
def roots(tmp_path_factory, make_video):
    """The variables that name a small data folder of each benchmark."""
    root = tmp_path_factory.mktemp("data sets")
    for variable, write in WRITERS.items():
        write(root / variable, make_video)
    return {variable: str(root / variable) for variable in WRITERS}


@pytest.fixture
def in_place(roots, monkeypatch):
    for variable, folder in roots.items():
        monkeypatch.setenv(variable, folder)


@pytest.fixture(scope="module")
def results(roots, tmp_path_factory):
    """What lmms-eval writes about a run of its model `dummy`, and the samples of each task."""
    output = tmp_path_factory.mktemp("output")
    command = [sys.executable, "-m", "lmms_eval", "--model", "dummy", "--model_args", "response=B"]
    command += ["--tasks", ",".join(TASKS), "--batch_size", "1", "--log_samples", "--output_path", str(output)]
    done = subprocess.run(command, env={**os.environ, **roots}, capture_output=True, text=True, timeout=500)
    files = list(output.rglob("*_results.json"))
    assert files, done.stdout[-2000:] + done.stderr[-4000:]
    samples = {
        path.stem.partition("_samples_")[2]: [json.loads(line) for line in path.read_text().splitlines()]
        for path in output.rglob("*_samples_*.jsonl")
    }
    return json.loads(files[0].read_text())["results"], samples


def accuracies(scores, task, *names):
    """The accuracy of a task and some of its other metrics."""
    return [scores[task][f"{name},none"] for name in ("accuracy", *names)]


@pytest.mark.slow
def test_a_stock_model_answers_all_of_them(results):
    scores, samples = results
    assert {task: len(rows) for task, rows in samples.items()} == {
        "vlm4d_real": 3,
        "vlm4d_synthetic": 2,
        "vlm4d_real_cot_frames": 3,
        "vlm4d_synthetic_cot_frames": 2,
        "sti_bench": 8,
        "dsi_bench": 8,
        "dsi_bench_std_frames": 2,
        "fourd_mllm4d_bench": 2,
    }
    assert accuracies(scores, "sti_bench", *sti_bench.TYPES, "missing") == [0.0] * 10
    types = ("camera_absolute_distance", "object_camera_relative_direction")
    assert accuracies(scores, "fourd_mllm4d_bench", *types) == [1.0, 1.0, None]


@pytest.mark.slow
def test_a_group_counts_every_question_once(results):
    """lmms-eval takes the size of a task from its last metric, which must therefore have all rows."""
    scores, _ = results
    for group, real, synthetic in (
        ("vlm4d", "vlm4d_real", "vlm4d_synthetic"),
        ("vlm4d_cot_frames", "vlm4d_real_cot_frames", "vlm4d_synthetic_cot_frames"),
    ):
        assert accuracies(scores, real, "exocentric", "egocentric", "missing") == [1 / 3, 1 / 2, 0.0, 1 / 3]
        assert accuracies(scores, synthetic, "directional", "false_positive", "missing") == [1 / 2, 1.0, 0.0, 0.0]
        assert accuracies(scores, group, "missing") == pytest.approx([2 / 5, 1 / 5])
        assert "macro_accuracy,none" not in scores[group]


@pytest.mark.slow
def test_three_of_four_variants_under_lmms_eval(results):
    scores, _ = results
    types = ("object_static_camera", "object_camera_distance", "camera_static_scene")
    assert accuracies(scores, "dsi_bench", *types) == [1 / 2, 3 / 4, 1 / 4, None]
    groups = [scores["dsi_bench"][f"{name},none"] for name in ("group_accuracy", *(f"group_{task}" for task in types))]
    assert groups == [1 / 2, 1.0, 0.0, None]
    assert accuracies(scores, "dsi_bench_std_frames", "macro_accuracy") == [1 / 2, 1 / 2]
    assert not [name for name in scores["dsi_bench_std_frames"] if name.startswith("group")]


@pytest.mark.parametrize(("task", "frames"), [("vlm4d_real", 8), ("sti_bench", 8), ("dsi_bench", 10)])
def test_frames_follow_the_benchmark(in_place, task, frames):
    assert len(read_row_clip(task_rows(task)[0], find_benchmark(task).frames).frames) == frames


def test_prompts_are_those_of_the_benchmarks(in_place):
    row = task_rows("vlm4d_real")[0]
    assert find_benchmark("vlm4d_real").text(row) == vlm4d.direct_prompt("Which way?", WAYS)
    assert find_benchmark("vlm4d_real_cot").text(row) == vlm4d.cot_prompt("Which way?", WAYS)
