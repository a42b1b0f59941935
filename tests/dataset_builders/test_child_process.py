"""A call that crashes, hangs or swells costs that call alone, and has a code that says which."""

import ctypes
import math
import multiprocessing
import os
import signal
import threading
import time

import pytest

from fourdthinker.dataset_builders.child_process import ChildProcess
from fourdthinker.dataset_builders.clip_error import CLIP_ERROR_CODES, ClipError


@pytest.fixture(scope="module")
def child():
    with ChildProcess("tester", time_limit=60, memory_limit=1 << 30) as process:
        yield process
    assert process.pid is None


def code_of(child, function, *args) -> str:
    with pytest.raises(ClipError) as caught:
        child.call(function, *args)
    assert "\n" not in str(caught.value) and "tester" in caught.value.reason and caught.value.remedy
    assert child.pid is None  # nothing of it lives on
    return caught.value.code


def test_calls_share_one_child(child):
    assert child.call(math.hypot, 3, 4) == 5
    pid = child.pid
    assert child.call(os.getpid) == pid != os.getpid()


def test_what_a_function_raises_comes_back_and_the_child_lives_on(child):
    pid = child.call(os.getpid)
    with pytest.raises(ZeroDivisionError, match="division"):
        child.call(divmod, 1, 0)
    assert child.call(os.getpid) == pid


@pytest.mark.parametrize(
    ("function", "args", "cause"),
    [(ctypes.string_at, (0,), "SIGSEGV"), (os.abort, (), "SIGABRT"), (os._exit, (3,), "exit code 3")],
)
def test_a_crash_is_named(child, function, args, cause):
    with pytest.raises(ClipError, match=cause) as caught:
        child.call(function, *args)
    assert caught.value.code == "crashed"
    assert child.call(math.hypot, 3, 4) == 5


def test_memory_is_limited(child):
    assert code_of(child, bytearray, 3 << 30) == "memory"
    assert len(child.call(bytearray, 1 << 20)) == 1 << 20


def test_a_call_that_hangs_is_ended():
    with ChildProcess("tester of this test", time_limit=0.2) as child:
        start = time.monotonic()
        assert code_of(child, time.sleep, 60) == "timeout"
        assert time.monotonic() - start < 30
        assert "tester of this test" not in {other.name for other in multiprocessing.active_children()}


def test_a_child_killed_from_outside_is_replaced(child):
    child.call(os.getpid)
    threading.Timer(0.3, os.kill, (child.pid, signal.SIGKILL)).start()
    with pytest.raises(ClipError, match="SIGKILL"):
        child.call(time.sleep, 60)
    assert child.call(math.hypot, 3, 4) == 5


def test_an_interruption_leaves_no_child_with_an_answer_of_its_own(child):
    # A shell's background jobs ignore Ctrl-C, and with them the tests that run in one.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    child.call(os.getpid)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            child.call(time.sleep, 60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert child.call(math.hypot, 3, 4) == 5


def test_codes_are_checked():
    assert set(CLIP_ERROR_CODES) >= {"empty", "not_video", "no_picture", "damaged", "too_large", "too_short"}
    with pytest.raises(ValueError, match="no such code"):
        ClipError("odd", "a", "b")
