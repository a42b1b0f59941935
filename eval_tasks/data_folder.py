"""Where the data of a benchmark are: a folder that the user names, lmms-eval's cache, or the Hub."""

import logging
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

from ..modeling.atomic import atomic_dir
from ..modeling.errors import InputError, first_line
from .benchmark import Benchmark

logger = logging.getLogger(__name__)


def find_data(benchmark: Benchmark) -> Path:
    """The data folder of a benchmark.

    It is the folder that the benchmark's environment variable names, else `$HF_HOME/<cache_name>`, where lmms-eval
    keeps media. Where there is neither, the latter is made: rendered, or downloaded from the Hub and unpacked.

    Raises:
        InputError: If there is none and none can be made; the line says which variable, which dataset and what the
            folder must hold.
    """
    if named := os.environ.get(benchmark.variable):
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; {data_remedy(benchmark)}")
        return folder
    from huggingface_hub.constants import HF_HOME

    cached = Path(HF_HOME) / (benchmark.cache_name or benchmark.name)
    if cached.is_dir():
        return cached
    if benchmark.make is not None:
        with atomic_dir(cached) as building:
            benchmark.make(building)
    elif benchmark.dataset is not None:
        _download(benchmark, cached)
    else:
        raise InputError(f"{benchmark.name}: its data are not here and cannot be downloaded: {data_remedy(benchmark)}")
    return cached


def data_remedy(benchmark: Benchmark) -> str:
    """What a user does who lacks the data of a benchmark."""
    holds = f" with {benchmark.contents}" if benchmark.contents else ""
    source = f" (dataset {benchmark.dataset} on the Hub)" if benchmark.dataset else ""
    return f"set {benchmark.variable} to a folder{holds}{source}"


def _download(benchmark: Benchmark, folder: Path) -> None:
    from huggingface_hub import snapshot_download

    logger.info("%s: downloading %s to %s", benchmark.name, benchmark.dataset, folder)
    try:
        snapshot = snapshot_download(
            benchmark.dataset, repo_type="dataset", allow_patterns=list(benchmark.downloads) or None
        )
    except Exception as error:  # each of the client's libraries has errors of its own, and the remedy is the same
        reason = first_line(error).rstrip(".")
        raise InputError(
            f"{benchmark.name}: its data are not here: {data_remedy(benchmark)}, which cannot be downloaded here "
            f"({reason})"
        ) from error
    with atomic_dir(folder) as building:
        _unpack(Path(snapshot), building)


def _unpack(snapshot: Path, folder: Path) -> None:
    """Put the files of a snapshot into a folder, archives unpacked where they lie. No member leaves the folder."""
    for path in sorted(path for path in snapshot.rglob("*") if path.is_file()):
        target = folder / path.relative_to(snapshot)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if path.suffix == ".zip":
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(target.parent)
            elif path.suffix in (".tar", ".tgz") or path.name.endswith(".tar.gz"):
                with tarfile.open(path) as archive:
                    archive.extractall(target.parent, filter="data")
            else:
                _link(path.resolve(), target)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
            raise InputError(f"{path} cannot be unpacked ({error}): delete it and download it again") from error


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)
