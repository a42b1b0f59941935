"""Where the data of a benchmark are: a folder that the user names, lmms-eval's cache, or the Hub."""

import os
from pathlib import Path

from ..modeling.atomic import atomic_dir
from ..modeling.errors import InputError
from .benchmark import Benchmark


def find_data(benchmark: Benchmark) -> Path:
    """The data folder of a benchmark.

    It is the folder named by the benchmark's environment variable, else `$HF_HOME/<cache_name>` as lmms-eval keeps
    media, which is made if the benchmark can be.

    Raises:
        InputError: If there is none; the line says which variable, which dataset and what the folder must hold.
    """
    named = os.environ.get(benchmark.variable)
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; {_remedy(benchmark)}")
        return folder
    cached = _cache_folder(benchmark)
    if cached is not None and cached.is_dir():
        return cached
    if cached is not None and benchmark.make is not None:
        with atomic_dir(cached) as building:
            benchmark.make(building)
        return cached
    raise InputError(f"{benchmark.name}: its data are not here; {_remedy(benchmark)}")


def _remedy(benchmark: Benchmark) -> str:
    holds = f" with {benchmark.contents}" if benchmark.contents else ""
    source = f" (dataset {benchmark.dataset} on the Hub)" if benchmark.dataset else ""
    return f"set {benchmark.variable} to a folder{holds}{source}"


def _cache_folder(benchmark: Benchmark) -> Path | None:
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / benchmark.cache_name if benchmark.cache_name else None
