"""Commands that run at the same time: real processes, their lines, exit codes and Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from fourdthinker.cli.side_by_side import run_side_by_side


def python(code):
    return [sys.executable, "-c", code]


@pytest.mark.medium
def test_lines_say_whose_they_are_and_a_failure_does_not_stop_the_other(capfd):
    commands = {
        "one": python("import sys; print('out'); sys.exit('fault')"),
        "two": python("import os, time; time.sleep(1); print(os.environ['OMP_NUM_THREADS'], os.environ['WHERE'])"),
    }
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    codes = run_side_by_side(commands, {**environment, "WHERE": "here"})
    assert codes == {"one": 1, "two": 0}
    lines = capfd.readouterr().out.splitlines()
    threads = max(1, os.cpu_count() // 2)
    assert sorted(lines) == ["[one] fault", "[one] out", f"[two] {threads} here"]


def test_the_threads_that_a_user_asked_for_are_kept_and_one_command_keeps_the_terminal(capfd):
    show = python("import os, sys; print(os.environ['OMP_NUM_THREADS']); print('bar', file=sys.stderr)")
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    assert run_side_by_side({"one": show, "two": show}, environment) == {"one": 0, "two": 0}
    assert sorted(capfd.readouterr().out.splitlines()) == ["[one] 3", "[one] bar", "[two] 3", "[two] bar"]
    assert run_side_by_side({"one": show}, environment) == {"one": 0}
    assert tuple(capfd.readouterr()) == ("3\n", "bar\n")


def test_an_interrupt_of_this_process_alone_reaches_every_command():
    wait = "import time\ntry: print('started', flush=True), time.sleep(60)\nexcept KeyboardInterrupt: print('ended')"
    code = (
        "import os, sys\nfrom fourdthinker.cli.side_by_side import run_side_by_side\n"
        f"command = [sys.executable, '-c', {wait!r}]\n"
        "try: run_side_by_side({'one': command, 'two': command}, os.environ)\n"
        "except KeyboardInterrupt: print('interrupted')"
    )
    # Some shells start background processes with the signal ignored.
    handled = lambda: signal.signal(signal.SIGINT, signal.default_int_handler)  # noqa: E731
    process = subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True, preexec_fn=handled)
    lines = [process.stdout.readline() for _ in range(2)]
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert [bool(re.fullmatch(r"\[(one|two)\] started\n", line)) for line in lines] == [True, True]
    assert sorted(rest.splitlines()) == ["[one] ended", "[two] ended", "interrupted"]
    assert time.monotonic() - started < 30, "before they would have ended by themselves"
