"""Folders of published benchmarks in small: their tables in the published shape, and videos made on the spot."""

import pyarrow
import pyarrow.parquet
import pytest

from fourdthinker.eval_tasks.benchmarks import dsr_bench

WAYS = ("left", "right", "up", "down")


@pytest.fixture(scope="session")
def dsr_rows():
    """One question of each type, two to a video."""
    return [
        {
            "videoID": f"clip {number // 2}",
            "question": f"Which way does <object {number}> go?",
            "options": [f"{letter}. (1) Goes {way}." for letter, way in zip("ABCD", WAYS, strict=True)],
            "answer": "ABCD"[number % 4],
            "type": task,
        }
        for number, task in enumerate(dsr_bench.TYPES)
    ]


@pytest.fixture(scope="session")
def dsr_folder(tmp_path_factory, make_video, dsr_rows):
    """DSR-Bench with videos of four seconds; of its seven videos the second is missing and the third is damaged."""
    folder = tmp_path_factory.mktemp("dsr bench")
    (folder / "videos").mkdir()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(dsr_rows), folder / "benchmark.parquet")
    for number in (0, 3, 4, 5, 6):
        make_video(folder / "videos" / f"clip {number}.mp4", seconds=4, shade=20 * number)
    (folder / "videos" / "clip 2.mp4").write_bytes(b"no video")
    return folder
