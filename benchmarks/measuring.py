"""How the benchmarks measure time and memory, and say on what machine."""

import ctypes
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import torch
import transformers


def medians(
    runs: Mapping[str, Callable[[], object]],
    repeats: int,
    by_turns: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of each run, the runs by turns or one after the other, after one of each that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    turns = range(repeats + 1)
    if by_turns:
        order = [(name, turn) for turn in turns for name in runs]
    else:
        order = [(name, turn) for name in runs for turn in turns]
    for name, turn in order:
        started = clock()
        runs[name]()
        if turn:
            seconds[name].append(clock() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak(run: Callable[[], object]) -> tuple[float, float]:
    """Resident memory before and at the peak of a run, in MiB, as Linux counts it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _status("VmRSS")
    run()
    return before, _status("VmHWM")


def resident() -> float:
    """Resident memory in MiB, as Linux counts it."""
    return _status("VmRSS")


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


def in_fork(run: Callable[[], float]) -> float:
    """What `run` returns in a forked process of its own, whose libraries are loaded already.

    It gives back what it frees, as in [`printed_by`]. Call it while this process has one thread.
    """
    with get_context("fork").Pool(1, initializer=_return_freed_blocks) as pool:
        return pool.apply(run)


def _return_freed_blocks() -> None:
    library = ctypes.CDLL(None)
    library.mallopt(-3, 2**16)  # M_MMAP_THRESHOLD
    library.malloc_trim(0)  # what the parent has freed is inherited, and would be filled first


def machine(device: str, dtype: str) -> str:
    """The machine and the versions, in two lines."""
    python = platform.python_version()
    return (
        f"{processor_name()}, {torch.get_num_threads()} threads, {device}, {dtype}\n"
        f"Python {python}, torch {torch.__version__}, transformers {transformers.__version__}"
    )


def processor_name() -> str:
    """The processor's name, short, for CPU seconds of different machines are not to be compared."""
    with suppress(OSError):
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return re.sub(r"\(\w+\)| (CPU|Processor)\b.*", "", found[1]).strip()
    return platform.processor() or platform.machine()
