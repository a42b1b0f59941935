"""Validate the values of a row, for `ask`, training, best-of-n and evaluation. Pure Python.

A fault is a phrase that names the column and the remedy, such as `options 3 is empty: write a text`; `None` is none.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from typing import Any, Literal

from .errors import InputError
from .tokens import IMAGERY_MARK, OPTION_LETTERS

Stage = Literal["dift", "grpo", "best-of-n", "eval"]

ON_BAD_ROW = ("stop", "skip")  # what to do with a row that has a fault
MIN_OPTIONS, MAX_OPTIONS = 2, len(OPTION_LETTERS)
# Where the options are not listed they are in the question, four of them as in the published rows.
_UNLISTED_LETTERS = OPTION_LETTERS[:4]
# Any token that Qwen's tokenizers and the latent ones write this way: in a text it would count as that token.
_SPECIAL_TOKEN = re.compile(r"<\|[^|<>\s]{1,64}\|>")
ANSWER_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def text_fault(name: str, value: Any, marks: bool = False) -> str | None:
    """Find what is wrong with a text.

    Args:
        name (`str`): What to call it.
        value: The text, or what stands in its place.
        marks (`bool`, *optional*, defaults to `False`): Whether imagery marks may stand in it.
    """
    if value is None:
        return f"{name} is null: write a text"
    if not isinstance(value, str):
        return f"{name} is {value!r:.80}, no text: write a text"
    if not value.strip():
        return f"{name} is empty: write a text"
    token = special_token(value) or (IMAGERY_MARK if not marks and IMAGERY_MARK in value else None)
    if token:
        return f"{name} has the token {token} in its words: take it out"
    try:
        value.encode()
    except UnicodeEncodeError as error:
        broken = value[error.start].encode("unicode_escape").decode()
        return f"{name} has {broken}, which is no character: write it in UTF-8"
    return None


def special_token(text: str) -> str | None:
    """The first special token that is written out in a text, such as `<|video_pad|>`."""
    found = _SPECIAL_TOKEN.search(text)
    return found and found[0]


def options_fault(options: Any, unique: bool = True) -> str | None:
    """Validate the options of a question: 2 to 10 different texts, or an empty list for an open question.

    Args:
        options: The texts, or what stands in their place.
        unique (`bool`, *optional*, defaults to `True`): Whether options must differ. Published benchmarks repeat some.
    """
    if options is None:
        return "options is null: write a list of texts, an empty one for a question without options"
    if isinstance(options, (str, Mapping)) or not hasattr(options, "__len__"):
        return f"options is {options!r:.80}, no list: write a list of texts"
    if len(options) and not MIN_OPTIONS <= len(options) <= MAX_OPTIONS:
        return f"options has {_count(len(options), 'entry', 'entries')}: give {MIN_OPTIONS} to {MAX_OPTIONS}, or none"
    faults = (text_fault(f"options {number}", option) for number, option in enumerate(options, start=1))
    return _first(faults) or (_repetition_fault(options) if unique else None)


def _repetition_fault(options: Sequence[str]) -> str | None:
    texts = [comparable_text(option) for option in options]
    for number, text in enumerate(texts):
        if (first := texts.index(text)) < number:
            return f"options {number + 1} is {options[number]!r:.80}, the same as options {first + 1}: give each once"
    return None


def comparable_text(text: str) -> str:
    """The text without what does not tell options apart: case, spacing, width and a closing full stop."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(plain.casefold().split()).rstrip(".。").rstrip()


def offered_letters(options: Sequence[str] | None) -> str:
    """The letters of the options; A to D where none are listed.

    Raises:
        InputError: If there are more than ten options, or only one.
    """
    if not options:
        return _UNLISTED_LETTERS
    if not MIN_OPTIONS <= len(options) <= MAX_OPTIONS:
        raise InputError(options_fault(options))
    return OPTION_LETTERS[: len(options)]


def answer_fault(answer: Any, options: Sequence[str]) -> str | None:
    """Find what is wrong with the letter of the correct option."""
    letters = offered_letters(options)
    if isinstance(answer, str) and len(answer) == 1 and answer in letters:
        return None
    offered = f"the {len(options)} options" if options else "an option"
    shown = "null" if answer is None else repr(answer)[:80]
    return f"answer {shown} is not the letter of {offered}: write one of {', '.join(letters)}"


def prompt_fault(question: Any, options: Any) -> str | None:
    """Find what is wrong with question and options."""
    return text_fault("question", question) or options_fault(options)


def times_fault(timestamps: Any, frames: int) -> str | None:
    """Validate the timestamps of a clip's frames: one a frame, in seconds, increasing.

    Args:
        timestamps: The times.
        frames (`int`): How many frames there are.
    """
    if timestamps is None:
        return "timestamps is null: write the seconds of each frame"
    if isinstance(timestamps, str) or not hasattr(timestamps, "__len__"):
        return f"timestamps is {timestamps!r:.80}, no list: write the seconds of each frame"
    if len(timestamps) != frames:
        times = _count(len(timestamps), "entry", "entries")
        return f"timestamps has {times} for {_count(frames, 'frame', 'frames')}: write one a frame"
    before = -math.inf
    for number, time in enumerate(timestamps, start=1):
        if not isinstance(time, Real) or not math.isfinite(time):
            shown = "null" if time is None else f"{time!r:.80}"
            return f"timestamps {number} is {shown}, no finite number: write the seconds of the frame"
        if time <= before:
            return f"timestamps {number} is {time:g}, not later than {before:g} before it: write rising seconds"
        before = time
    return None


def marks_fault(response: Any, imagery: int) -> str | None:
    """Validate the text of a response, and its number of marks against its imagery frames."""
    if fault := text_fault("response", response, marks=True):
        return fault
    marks = response.count(IMAGERY_MARK)
    if marks == imagery:
        return None
    frames = f"{imagery} imagery frame{'' if imagery == 1 else 's'}"
    return f"response has {marks} {IMAGERY_MARK} marks for {frames}: write one mark a frame"


def row_fault(row: Mapping[str, Any], stage: Stage, frames: int | None, imagery: int | None = None) -> str | None:
    """The first fault of a row's values; its images are not looked at.

    Args:
        row (`Mapping`): `question`, `options`, `timestamps`, `answer`; for `"dift"` `response`, and `answer` only if
            the row lists options and its response has an answer; for `"best-of-n"` and `"eval"` also `task`. An `id`
            that is there is looked at too.
        stage (`str`): `"dift"`, `"grpo"`, `"best-of-n"` or `"eval"`.
        frames (`int`, *optional*): How many frames the row has; none if a video gives them with their times.
        imagery (`int`, *optional*): For `"dift"` how many imagery frames, none if the list is null.
    """
    return _first(_faults(row, stage, frames, imagery))


def _faults(row: Mapping[str, Any], stage: Stage, frames: int | None, imagery: int | None) -> Iterator[str | None]:
    if "id" in row and (row["id"] is None or row["id"] == ""):
        yield "id is missing: give each row a name of its own"
    yield prompt_fault(row["question"], row["options"])
    needs_answer = stage != "dift" or (row["options"] and not lacks_answer(row["response"]))
    if "answer" in row and (needs_answer or row["answer"]):
        yield answer_fault(row["answer"], row["options"])
    if stage == "eval" and not row["options"]:
        yield "options is empty: give the texts that were offered"
    if stage in ("best-of-n", "eval"):
        yield text_fault("task", row["task"])
    if frames is not None:
        yield times_fault(row["timestamps"], frames)
    if stage == "dift":
        if imagery is None:
            yield "imagery is null: write a list of images, an empty one for a response without imagery"
        else:
            yield marks_fault(row["response"], imagery)
        yield _ending_fault(row["response"])


def lacks_answer(response: Any) -> bool:
    """Whether a response ends in its last imagery mark, and so teaches what to imagine and no answer."""
    return isinstance(response, str) and response.rstrip().endswith(IMAGERY_MARK) and "<answer>" not in response


def _ending_fault(response: str) -> str | None:
    answers = ANSWER_TAG.findall(response)
    if len(answers) == 1 and answers[0].strip() and response.rstrip().endswith("</answer>"):
        return None
    if lacks_answer(response):
        return None
    return (
        "response does not end in exactly one <answer>…</answer>: write the answer last, once, or end in "
        f"{IMAGERY_MARK} to teach imagery alone"
    )


@contextmanager
def name_row(row: Mapping[str, Any]) -> Iterator[None]:
    """Add the `id` of a row, if it has one, to an `InputError` that is raised inside."""
    try:
        yield
    except InputError as error:
        if row.get("id") is None:
            raise
        raise InputError(f"row {row['id']}: {error}") from error


def _first(faults: Iterator[str | None]) -> str | None:
    return next(filter(None, faults), None)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
