"""How the benchmarks measure time and memory, and say on what machine."""

import ctypes
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
import transformers


def medians(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each run, the runs by turns, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak(run: Callable[[], object]) -> tuple[float, float]:
    """Resident memory before and at the peak of a run, in MiB, as Linux counts it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    run()
    return before, _status("VmHWM")


def keep_freed_memory() -> None:
    """Have glibc keep what this process frees, for its next step: a virtual machine is slow to give pages again."""
    trim_threshold, most_mapped = -1, -4  # M_TRIM_THRESHOLD, M_MMAP_MAX of malloc.h
    libc = ctypes.CDLL(None)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(most_mapped, 0)


def _status(field: str) -> float:
    """MiB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def printed_by(script: str, argv: Sequence[str]) -> list[float]:
    """The numbers in the last line that a script prints in a process of its own.

    It gives back what it frees: glibc would keep blocks of up to 32 MiB, and its holes would count as used.
    """
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**20)}
    command = [sys.executable, script, *argv]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return [float(number) for number in done.stdout.splitlines()[-1].split()]


def machine(device: str, dtype: str) -> str:
    """The machine and the versions, in two lines."""
    processor = platform.processor() or platform.machine()
    python = platform.python_version()
    return (
        f"{processor}, {torch.get_num_threads()} threads, {device}, {dtype}\n"
        f"Python {python}, torch {torch.__version__}, transformers {transformers.__version__}"
    )
