"""What one benchmark is: its rows, its prompt, its frames, the rule that reads its answers, where its data are."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

from ..modeling.errors import InputError
from ..modeling.prompts import question_text
from ..modeling.row_rules import answer_fault, name_row, text_fault
from ..modeling.tokens import OPTION_LETTERS

Row = Mapping[str, Any]
# Takes judged rows (`task`, `score` 0 or 1, and the row's other columns) and gives one number, or none of no rows.
Summary = Callable[[Sequence[Row]], float | None]


@dataclass(frozen=True)
class FramePolicy:
    """How frames are taken from a video.

    Attributes:
        fps (`float`, *optional*): Frames a second; none spreads `max_frames` evenly from the first frame to the last.
        max_frames (`int`, *optional*): Most frames of a video; a longer one gives that many, evenly spread.
        max_pixels (`int`, *optional*): Larger frames are shrunk, their aspect ratio kept.
    """

    fps: float | None = None
    max_frames: int | None = None
    max_pixels: int | None = None

    def completed_by(self, other: "FramePolicy") -> "FramePolicy":
        """This policy, with what it leaves open from another one."""
        return FramePolicy(
            *(own if own is not None else theirs for own, theirs in zip(astuple(self), astuple(other), strict=True))
        )

    def __str__(self) -> str:
        rate = f"{self.fps:g} fps" if self.fps else "uniform"
        most = f", at most {self.max_frames} frames" if self.max_frames else ""
        return rate + most + (f", at most {self.max_pixels} pixels a frame" if self.max_pixels else "")


def macro_accuracy(rows: Sequence[Row]) -> float:
    """The mean over types of question of the accuracy of each, so that a rare type counts as much as a common one."""
    by_task = defaultdict(list)
    for row in rows:
        by_task[row["task"]].append(row["score"])
    return sum(sum(scores) / len(scores) for scores in by_task.values()) / len(by_task)


@dataclass(frozen=True, eq=False)
class Benchmark:
    """One benchmark under one protocol.

    Variants of a benchmark are made with `dataclasses.replace`.

    Attributes:
        name (`str`): As in `--tasks`; lmms-eval also gets `fourd_<name>`, and `<name>_frames` where rows have a video.
        read (`Callable[[Path], Sequence[Mapping]]`): Reads the data folder to rows with `id`, `task` (type of
            question), `question`, `options` (texts without letters), `answer` (letter) and `video` (path of a file
            that may be missing); optional `frame_folder` (images that are shown in its place, see
            `videos.video_path`), `start` and `end` (seconds of the video that are shown), `hidden_tail` (seconds at
            its end that are not), and columns for `summaries`. Rows with `frames` and `timestamps` in
            place of `video` come as a `datasets.Dataset`.
        types (`tuple[str, ...]`): The types of question; another one is an error.
        variable (`str`): Environment variable that names the data folder.
        dataset (`str`, *optional*): Id on the Hub.
        hub_benchmark (`tuple[str, str]`, *optional*): Id of a data set that the Hub has registered as a benchmark, and
            of its task in that data set's `eval.yaml`: the Hub shows scores of these alone.
        cache_name (`str`, *optional*): Folder below `HF_HOME` that holds the data, lmms-eval's convention.
        downloads (`tuple[str, ...]`): Patterns of the files of `dataset` that the benchmark needs.
        contents (`str`): What the data folder holds, for the message where it is missing.
        prompt (`Callable[[str, Sequence[str]], str]`): Question and option texts to the text of the user turn.
        text_first (`bool`): Whether the text stands before the video.
        frames (`FramePolicy`): How the published protocol samples a video.
        rule (`str`, *optional*): The benchmark's own rule for the policy `"strict"` of `extract_answer`.
        max_new_tokens (`int`): Longest response.
        summaries (`Mapping[str, Callable]`): Further scores, over all judged rows.
        make (`Callable[[Path], None]`, *optional*): Writes the data folder where there is none; no download.
        has_videos (`bool`): Whether rows have a `video`, or else `frames`.
        group (`str`, *optional*): A name in `--tasks` that runs all benchmarks with it.
        version (`int`): Raise it when rows, wording or scores change: scores of two versions cannot be compared.
    """

    name: str
    read: Callable[[Path], Sequence[Row]]
    types: tuple[str, ...]
    variable: str
    dataset: str | None = None
    hub_benchmark: tuple[str, str] | None = None
    cache_name: str | None = None
    downloads: tuple[str, ...] = ()
    contents: str = ""
    prompt: Callable[[str, Sequence[str]], str] = question_text
    text_first: bool = False
    frames: FramePolicy = FramePolicy()
    rule: str | None = None
    max_new_tokens: int = 512
    summaries: Mapping[str, Summary] = field(default_factory=lambda: {"macro_accuracy": macro_accuracy})
    make: Callable[[Path], None] | None = None
    has_videos: bool = True
    group: str | None = None
    version: int = 1

    def text(self, row: Row) -> str:
        """The text of the user turn of a row."""
        with name_row(row):
            return self.prompt(row["question"], row["options"])

    def check_rows(self, rows: Sequence[Row]) -> None:
        """Look at the values of rows before any is answered; two options may be equal, as in published data.

        Raises:
            InputError: At the first row that cannot be asked or scored; the line names it.
        """
        if not len(rows):
            raise InputError(f"{self.name}: its data folder holds no rows")
        for row in rows:
            with name_row(row):
                if fault := self._fault(row):
                    raise InputError(fault)

    def _fault(self, row: Row) -> str | None:
        options = row["options"]
        faults = [text_fault("task", row["task"]), text_fault("question", row["question"])]
        if not 2 <= len(options) <= len(OPTION_LETTERS):
            return f"options has {len(options)} entries: give 2 to {len(OPTION_LETTERS)}"
        faults += [text_fault(f"options {number}", option) for number, option in enumerate(options, start=1)]
        faults.append(answer_fault(row["answer"], options))
        if row["task"] not in self.types:
            faults.append(f"unknown type of question {row['task']!r}: {self.name} has {', '.join(self.types)}")
        return next(filter(None, faults), None)
