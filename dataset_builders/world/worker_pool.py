"""Rendering processes that leave Ctrl-C to the process that started them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context, resource_tracker
from multiprocessing.pool import Pool


@contextmanager
def worker_pool(workers: int) -> Iterator[Pool]:
    """Start `workers` processes and terminate them afterwards.

    A terminal sends Ctrl-C to all processes at once. Workers inherit a mask that blocks it, so that only the one that
    started them ends its work in order, and none prints a traceback.

    Args:
        workers (`int`): How many.
    """
    has_masks = hasattr(signal, "pthread_sigmask")  # not on Windows
    if has_masks:
        resource_tracker.ensure_running()  # its start would take the mask away again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if has_masks else None
    try:
        pool = get_context("spawn").Pool(workers)
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    with pool:
        yield pool
