"""`fourdthinker eval --check-overlap` names the questions that a training set holds, before anything is scored."""

import argparse
import json

import av
import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset
from PIL import Image

from fourdthinker.cli.eval_overlap import check_overlap_arguments, find_rows_overlap
from fourdthinker.eval_tasks.tasks import benchmark_rows, find_benchmark
from fourdthinker.modeling.errors import InputError

from ..eval_tasks.test_overlap import make_clip


def save_frames(folder, seed: int) -> list[str]:
    paths = [folder / f"{seed}_{number}.png" for number in range(3)]
    for path, frame in zip(paths, make_clip(seed, 3), strict=True):
        frame.save(path)
    return [str(path) for path in paths]


def question(name: str, frames: list) -> dict:
    times = {"timestamps": [0.0, 1.0, 2.0]}
    return {
        "id": name,
        "task": "x",
        "question": f"Which way, {name}?",
        "options": ["up", "down"],
        "frames": frames,
        **times,
    }


def write_video(path, frames) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4)
        stream.width, stream.height, stream.pix_fmt = *frames[0].size, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def arguments(**values) -> argparse.Namespace:
    return argparse.Namespace(**{"check_overlap": None, "drop_overlap": False, **values})


def test_overlapping_rows_are_named_and_dropped(tmp_path, capsys):
    training = tmp_path / "training.jsonl"
    rows = [{**question(f"train {seed}", save_frames(tmp_path, seed)), "answer": "A"} for seed in (1, 2)]
    training.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    mirrored = [frame.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for frame in make_clip(2, 3)]
    benchmark = Dataset.from_list([question("held out", make_clip(3, 3)), question("leaked", mirrored)])
    kept, overlap = find_rows_overlap(benchmark, "x", None, arguments(check_overlap=str(training), drop_overlap=True))
    assert kept == [0]
    assert overlap["dropped"] == 1
    assert [(entry["row"], entry["other"], entry["kind"]) for entry in overlap["overlapping"]] == [
        ("leaked", "train 2", "video")
    ]
    assert "1 of 2 rows overlap" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["dsr_bench", "dsr_bench_last_second_hidden"])
def test_a_training_video_is_found_in_a_benchmark_that_samples_it_otherwise(tmp_path, monkeypatch, name):
    """Training rows have one frame a second; DSR-Bench shows 32 of the whole video, or without its last second."""
    folder = tmp_path / "dsr"
    (folder / "videos").mkdir(parents=True)
    row = {"question": "Which way?", "options": ["up", "down"], "answer": "A", "type": "abs_dir_pred"}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{**row, "videoID": "a"}]), folder / "benchmark.parquet")
    write_video(folder / "videos/a.mp4", [frame for seed in range(4) for frame in make_clip(seed, 4)])
    monkeypatch.setenv("DSR_BENCH_ROOT", str(folder))
    training = tmp_path / "training.jsonl"
    own = {"id": "t", "task": "x", "question": "What colour has the car?", "options": ["red", "blue"], "answer": "A"}
    training.write_text(json.dumps({**own, "video": str(folder / "videos/a.mp4")}) + "\n", encoding="utf-8")
    benchmark = find_benchmark(name)
    _, overlap = find_rows_overlap(benchmark_rows(benchmark), name, benchmark, arguments(check_overlap=str(training)))
    assert [(entry["row"], entry["kind"]) for entry in overlap["overlapping"]] == [("dsr_bench-0", "video")]


def test_wrong_arguments_end_in_one_line(tmp_path):
    with pytest.raises(InputError, match="--drop-overlap needs --check-overlap"):
        check_overlap_arguments(arguments(drop_overlap=True))
    with pytest.raises(InputError, match="no such file or folder"):
        check_overlap_arguments(arguments(check_overlap=str(tmp_path / "none.jsonl")))
