"""Run commands at the same time, with the lines of each marked by its name."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence


def run_side_by_side(commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]) -> dict[str, int]:
    """Run one command in the foreground, or several at once with an equal share of the cores each.

    One command keeps the terminal. The lines of several, of both streams, go to standard output behind `[name]`.

    Args:
        commands (`Mapping[str, Sequence[str]]`): Name to command line.
        environment (`Mapping[str, str]`): Of all of them; its `OMP_NUM_THREADS`, if set, is kept.

    Returns:
        `dict[str, int]`: Name to exit code. A command that fails does not stop the others.

    Raises:
        KeyboardInterrupt: At Ctrl-C, after it reached every command and all have ended.
    """
    if len(commands) == 1:
        ((name, command),) = commands.items()
        return {name: subprocess.run(command, env=environment, check=False).returncode}
    threads = max(1, (os.cpu_count() or 1) // len(commands))
    shared = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", **environment}
    running = {
        name: subprocess.Popen(
            command, env=shared, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        for name, command in commands.items()
    }
    readers = [threading.Thread(target=_print_lines, args=item, daemon=True) for item in running.items()]
    for reader in readers:
        reader.start()
    try:
        codes = {name: process.wait() for name, process in running.items()}
    except KeyboardInterrupt:
        # A terminal sends Ctrl-C to all of them; `kill -INT` reaches this process alone.
        for process in running.values():
            process.send_signal(signal.SIGINT)
        for process in running.values():
            process.wait()
        raise
    for reader in readers:
        reader.join()
    return codes


def _print_lines(name: str, process: subprocess.Popen) -> None:
    for line in process.stdout or ():
        print(f"[{name}] {line.rstrip()}", flush=True)
