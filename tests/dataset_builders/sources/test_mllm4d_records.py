"""Records in MLLM-4D's own format, written about the rendered world and read by the benchmark."""

import json
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="needs the extra `world`")

from fourdthinker.dataset_builders.questions.mllm4d import KINDS
from fourdthinker.dataset_builders.sources.mllm4d_records import write_records
from fourdthinker.dataset_builders.sources.world_mllm4d import mllm4d_rows
from fourdthinker.eval_tasks.benchmarks import mllm4d_bench
from fourdthinker.eval_tasks.tasks import find_benchmark, task_rows
from fourdthinker.eval_tasks.videos import read_row_clip


@pytest.fixture(scope="module")
def rows():
    return list(mllm4d_rows("test", 2, "grpo"))


@pytest.mark.medium
def test_the_benchmark_reads_what_the_world_writes(rows, tmp_path, monkeypatch):
    assert write_records(tmp_path / "records", rows) == len(rows) == 2 * len(KINDS)
    monkeypatch.setenv("MLLM4D_BENCH_ROOT", str(tmp_path / "records"))
    read = task_rows("mllm4d_bench")
    # Sideways and along the line of sight are one type.
    assert Counter(read["task"]) == Counter({**dict.fromkeys(mllm4d_bench.TYPES, 2), mllm4d_bench.TYPES[5]: 4})
    for row, original in zip(read, rows, strict=True):
        for column in ("id", "question", "options", "answer", "camera_centers", "object_centers"):
            assert row[column] == original[column], column
        clip = read_row_clip(row, find_benchmark("mllm4d_bench").frames)
        assert clip.timestamps == pytest.approx(original["timestamps"], abs=1e-3)
        for frame, rendered in zip(clip.frames, original["frames"], strict=True):
            assert np.abs(np.asarray(frame, int) - np.asarray(rendered, int)).mean() < 8


@pytest.mark.medium
def test_the_wording_alone_tells_the_type(rows, tmp_path):
    write_records(tmp_path / "records", rows)
    path = tmp_path / "records/records.jsonl"
    records = [json.loads(line) for line in path.read_text().splitlines()]
    by_name = [row["task"] for row in mllm4d_bench.read_rows(tmp_path / "records")]
    path.write_text("\n".join(json.dumps({**record, "type": None}) for record in records))
    assert [row["task"] for row in mllm4d_bench.read_rows(tmp_path / "records")] == by_name
