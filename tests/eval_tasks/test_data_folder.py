"""Where a benchmark's data come from: the user's folder, lmms-eval's cache, a download; or one line what to do."""

import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from fourdthinker.eval_tasks.data_folder import find_data
from fourdthinker.eval_tasks.tasks import BENCHMARKS
from fourdthinker.modeling.errors import InputError

BENCHMARK = replace(BENCHMARKS["dsr_bench"], downloads=())
ADVICE = "set DSR_BENCH_ROOT to a folder with benchmark.parquet and videos/<videoID>.mp4 (dataset TencentARC/DSR_Suite"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty `HF_HOME`, and no variable set."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.delenv(BENCHMARK.variable, raising=False)
    return tmp_path / "home"


def test_the_variable_wins_over_the_cache(home, tmp_path, monkeypatch):
    (home / "dsr_bench").mkdir(parents=True)
    assert find_data(BENCHMARK) == home / "dsr_bench"
    monkeypatch.setenv(BENCHMARK.variable, str(tmp_path))
    assert find_data(BENCHMARK) == tmp_path


def test_a_missing_folder_is_named_with_the_variable_and_the_dataset(tmp_path, monkeypatch):
    monkeypatch.setenv(BENCHMARK.variable, str(tmp_path / "gone"))
    with pytest.raises(InputError) as caught:
        find_data(BENCHMARK)
    assert str(caught.value).startswith(f"{tmp_path}/gone: no such folder; {ADVICE}")


def test_offline_one_line_names_variable_and_dataset(home):
    with pytest.raises(InputError) as caught:
        find_data(BENCHMARK)
    assert str(caught.value).startswith("dsr_bench: its data are not here: set DSR_BENCH_ROOT to a folder with ")
    assert ADVICE in str(caught.value) and "\n" not in str(caught.value)
    assert not (home / "dsr_bench").exists()


def test_what_was_downloaded_is_unpacked_once_and_nothing_leaves_the_folder(home):
    """`snapshot_download` finds a snapshot in the Hub's cache without the Hub."""
    snapshot = home / "hub" / "datasets--TencentARC--DSR_Suite-Data" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    (snapshot / "benchmark.parquet").write_bytes(b"table")
    (snapshot / "media").mkdir()
    with zipfile.ZipFile(snapshot / "media" / "videos.zip", "w") as archive:
        archive.writestr("one two.mp4", b"zipped")
        archive.writestr("../../../escaped.mp4", b"zipped")
    with tarfile.open(snapshot / "frames.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("frames/0.jpg")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"jpeg"))
    folder = find_data(BENCHMARK)
    assert folder == home / "dsr_bench"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {"benchmark.parquet", "media/one two.mp4", "media/escaped.mp4", "frames/0.jpg"}
    (folder / "benchmark.parquet").write_bytes(b"mine")
    assert (find_data(BENCHMARK) / "benchmark.parquet").read_bytes() == b"mine"


def test_an_archive_that_leaves_the_folder_leaves_nothing_behind(home):
    snapshot = home / "hub" / "datasets--TencentARC--DSR_Suite-Data" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    with tarfile.open(snapshot / "frames.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../../outside.jpg"))
    with pytest.raises(InputError, match="frames.tar cannot be unpacked"):
        find_data(BENCHMARK)
    assert not (home / "dsr_bench").exists() and not list(Path(home).rglob("outside.jpg"))
