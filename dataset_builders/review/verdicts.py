"""The file of verdicts, `review.jsonl`: appended to, never rewritten, one line for each thing that a person did."""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from ...modeling.errors import InputError

REVIEW = "review.jsonl"
Decision = Literal["accept", "reject", "rename", "undo"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


@dataclass(frozen=True)
class Verdict:
    """What a person decided about a row or an overlay.

    Attributes:
        subject (`str`): Digest of what was judged; what has changed since is another thing, and is to be judged again.
        id (`str`): The row's id or the overlay's name in the build, for people who read the file.
        decision (`str`): `accept`, `reject`, `rename` (right, but for the name) or `undo` (no verdict any more).
        reviewer (`str`): Who.
        reason (`str`): Of a rejection.
        name (`str`): The right name, of a correction.
        track (`str`): Digest of the object that has the name.
        time (`str`): When, in UTC.
    """

    subject: str
    id: str
    decision: Decision
    reviewer: str
    reason: str = ""
    name: str = ""
    track: str = ""
    time: str = ""


class ReviewFile:
    """The verdicts of a build. Several people, and several servers, may append at the same time.

    Args:
        output (`Path`): The folder of the build.
    """

    def __init__(self, output: Path):
        self.path = output / REVIEW

    def read(self) -> list[Verdict]:
        """All verdicts in the order in which they were given; a line that a crash has torn is none."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InputError(f"{self.path} cannot be read ({error.strerror}): check its permissions") from error
        return [verdict for line in lines if (verdict := _parse(line)) is not None]

    def append(self, verdict: Verdict) -> None:
        """Keep a verdict, on the disk before this returns.

        Raises:
            InputError: If it cannot be written.
        """
        stamped = asdict(verdict) | {"time": datetime.now(UTC).isoformat(timespec="seconds")}
        line = json.dumps({name: value for name, value in stamped.items() if value}, ensure_ascii=False) + "\n"
        try:
            with open(self.path, "a+b", buffering=0) as file:
                if file.seek(0, os.SEEK_END) and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                    line = "\n" + line  # the last one was torn
                file.write(line.encode("utf-8", "surrogatepass"))
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"cannot write {self.path} ({error.strerror}): the verdict is not kept") from error


def latest(verdicts: Iterable[Verdict]) -> dict[tuple[str, str], Verdict]:
    """The verdicts that stand: the last one of each reviewer on each subject, unless it was undone.

    Returns:
        `dict[tuple[str, str], Verdict]`: By subject and reviewer, in the order in which they were given.
    """
    standing: dict[tuple[str, str], Verdict] = {}
    for verdict in verdicts:
        key = verdict.subject, verdict.reviewer
        standing.pop(key, None)
        if verdict.decision != "undo":
            standing[key] = verdict
    return standing


def count_agreement(standing: Mapping[tuple[str, str], Verdict], subjects: Iterable[str]) -> tuple[int, int]:
    """On how many subjects several reviewers agree whether to keep them, and how many several have judged."""
    wanted, kept = set(subjects), dict[str, list[bool]]()
    for (subject, _), verdict in standing.items():
        if subject in wanted:
            kept.setdefault(subject, []).append(verdict.decision != "reject")
    shared = [decisions for decisions in kept.values() if len(decisions) > 1]
    return sum(len(set(decisions)) == 1 for decisions in shared), len(shared)


def _parse(line: bytes) -> Verdict | None:
    try:
        stored = json.loads(line.decode("utf-8", "surrogatepass"))
        verdict = Verdict(**{field.name: stored[field.name] for field in fields(Verdict) if field.name in stored})
    except (ValueError, TypeError):
        return None
    texts = all(isinstance(value, str) for value in asdict(verdict).values())
    return verdict if texts and verdict.decision in DECISIONS else None
