"""How far long work is: a bar on a terminal, plain lines where the output is a file."""

import sys
import time
from typing import Self

from tqdm.auto import tqdm

_SECONDS = 10.0  # what ends sooner prints no line
_SILENCE = 60.0  # longest time without a line, whatever has been done since


class Progress:
    """Progress of a build or an evaluation, on standard error. Use it as a context manager.

    Where that is no terminal, each tenth of the work prints a line, but none earlier than ten seconds after the last;
    when a minute has passed since the last line, the next call prints one though less is done, or nothing.

    Args:
        what (`str`): What is counted, in the plural.
        total (`int`): How many there are.
        seconds (`float`, *optional*, defaults to 10): Least time between two lines.
        silence (`float`, *optional*, defaults to 60): Longest time between two lines, if there are calls.
        shown (`bool`, *optional*, defaults to `True`): Show anything at all.
    """

    def __init__(
        self, what: str, total: int, seconds: float = _SECONDS, shown: bool = True, silence: float = _SILENCE
    ):
        self._what, self._total, self._seconds, self._shown, self._silence = what, total, seconds, shown, silence
        # Even a disabled bar takes the lock that tqdm shares with forked processes, and one that was killed while it
        # held the lock never frees it.
        is_drawn = shown and sys.stderr.isatty()
        self._bar = tqdm(total=total, desc=what, file=sys.stderr) if is_drawn else None
        self._done, self._said, self._when = 0, 0, time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, more: int) -> None:
        """Show that so many more are done."""
        self.reach(self._done + more)

    def reach(self, done: int) -> None:
        """Show that so many are done."""
        self._done = done
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
            return
        passed = time.monotonic() - self._when
        is_tenth = 10 * (done - self._said) >= self._total and passed >= self._seconds
        if self._shown and (is_tenth or passed >= self._silence):
            self._said, self._when = done, time.monotonic()
            print(f"{self._what}: {done} of {self._total} ({done / self._total:.0%})", file=sys.stderr, flush=True)
