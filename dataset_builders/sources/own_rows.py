"""Read rows from a user's own file: plain columns, or conversations (LLaVA, LLaMA-Factory, ms-swift)."""

import logging
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from datasets import Dataset

from ...modeling.chat_messages import Exchange, first_exchange, strip_media_tags
from ...modeling.errors import InputError, count_noun
from ...modeling.listed_options import split_options
from ...modeling.records import as_list, is_empty, is_row_file, parse_structure, read_records
from ...modeling.tokens import OPTION_LETTERS
from ..loading import VIDEO_COLUMN, decode_frames_when_read
from .answer_texts import add_answer_tags, find_letter, strip_letters, text_of
from .file_rows import FEATURES, FileRoot, collect_rows, default_timestamps
from .published_jsonl import read_published

logger = logging.getLogger(__name__)

# What a column may be called, in any case; the first one that a row fills is taken.
_NAMES = {
    "id": ("id", "question_id", "sample_id"),
    "task": ("task", "type", "category", "question_type"),
    "conversation": ("messages", "conversations"),
    "video": ("video", "video_path", "videos"),
    "frames": ("frames", "frame_paths", "images", "image"),
    "timestamps": ("timestamps",),
    "question": ("question", "query", "problem"),
    "options": ("options", "choices"),
    "answer": ("answer", "solution", "correct"),
    "response": ("response",),
    "imagery": ("imagery",),
}
_DIFT_ALONE = ("response", "imagery")
_OPTION_COLUMN = re.compile(r"(?:(?:option|choice)[ _-]?)?([a-j])|(?:option|choice)[ _-]?(10|[0-9])")
# By which columns 4DThinker's own files are known; its names of questions and answers alone are other people's too.
_PUBLISHED = (
    {"text_input", "text_output", "image_input"},
    {"Question", "Correct", "A", "B", "frame_paths"},
    {"Question", "Correct", "A", "B", "video_path"},
)


def find_row_file(folder: Path, split: str) -> Path | None:
    """The file of a folder that holds a split: `train.jsonl` for `"train"`, or the folder's only file of rows."""
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_row_file(path.name)]
    named = [path for path in files if path.stem == split]
    if not named and any(path.stem in ("train", "test", "validation") for path in files):
        return None
    chosen = named or files
    return chosen[0] if len(chosen) == 1 else None


def read_row_file(
    path: str | Path,
    stage: str,
    root: str | Path | None = None,
    on_bad_row: str = "stop",
    report: Callable[[str], object] = logger.info,
) -> Dataset:
    """Read rows from a JSONL, JSON, CSV, TSV or Parquet file.

    A row has a video (`video`, a file name) or `frames` (a list of image files, one a second unless `timestamps` says
    otherwise), and a `question`. Options are a list `options`, one column each (`A`, `B`, …; `option_a`; `option_1` or
    from `option_0` on), or lines `A. …` of the question; `answer` is a letter or an option's text, in
    any case. For `"dift"` there is a `response`, with a list `imagery` of one image for each `<output_image>` in it.
    In the place of question and response there may be a conversation, `conversations` or `messages`, of which the
    first question and its response are taken. A response without `<answer>` gets the tags: around it, or, where
    `answer` says the answer, behind it.

    Args:
        path (`str` or `Path`): The file; 4DThinker's own JSONL files are read by [`read_published`].
        stage (`str`): `"dift"`, or `"grpo"`, which is also what evaluation takes.
        root (`str` or `Path`, *optional*): What relative file names start from, and the only folder from which images
            and videos are read; by default the file's folder.
        on_bad_row (`str`, *optional*, defaults to `"stop"`): `"skip"` leaves out records that hold no row, with a
            warning for each.
        report (`Callable[[str], object]`, *optional*): Takes one line that says which columns were taken and what was
            left out; by default it is logged.

    Returns:
        `datasets.Dataset`: Columns as of `load_dataset(..., stage)`, without `source` and `facts`, and `video`, whose
        frames are decoded when a row is read, see [`decode_frames_when_read`]. What the values hold is not looked at.

    Raises:
        InputError: If the file cannot be read, names files outside the root, or has no column that the stage needs.
    """
    path, root = Path(path), None if root is None else Path(root)
    if stage not in FEATURES:
        raise InputError(f"{path} is a file of rows, which has none for {stage!r}: choose {' or '.join(FEATURES)}")
    if _is_published(path):
        return read_published(path, stage, root, on_bad_row)
    reader = _RowReader(path, stage, FileRoot(path.parent if root is None else root))

    def read(number: int, located: tuple[str, Any]) -> dict[str, Any]:
        where, record = located
        if isinstance(record, InputError):
            raise record
        return reader.read(record, number, where)

    reads = (partial(read, *numbered) for numbered in enumerate(read_records(path), start=1))
    rows = collect_rows(path, reads, on_bad_row)
    reader.check_columns()
    report(reader.summary(len(rows)))
    return decode_frames_when_read(Dataset.from_list(rows, features=FEATURES[stage]))


def _is_published(path: Path) -> bool:
    if path.suffix.lower() != ".jsonl":
        return False
    first = next((record for _, record in read_records(path) if isinstance(record, dict)), {})
    return any(columns <= first.keys() for columns in _PUBLISHED)


class _RowReader:
    """Makes rows of the records of one file, and remembers which columns it took."""

    def __init__(self, path: Path, stage: str, files: FileRoot):
        self.path, self.stage, self.files = path, stage, files
        self.columns: dict[str, None] = {}  # all that were seen, in order
        self.sources: dict[str, dict[str, None]] = {}  # for each value of a row the columns that gave it
        self.notes: Counter[str] = Counter()  # what was left out beside columns
        self.tagged = 0  # responses that got `<answer>` tags

    def read(self, record: Mapping[str, Any], number: int, where: str) -> dict[str, Any]:
        """The row of a record.

        Args:
            record (`Mapping`): Its fields.
            number (`int`): Its place, from 1, which names a row without an `id`.
            where (`str`): The same in words, for errors.
        """
        self.columns.update(dict.fromkeys(str(name) for name in record))
        fields = {str(name).strip().lower(): (str(name), value) for name, value in record.items()}
        identity = self._take(fields, "id")
        where = where if identity is None else f"{where}, row {identity}"
        exchange = self._exchange(fields, where)
        frames, timestamps, video = self._clip(fields, exchange, where)
        question, options, answer, response = self._words(fields, exchange, where)
        task = self._take(fields, "task")
        row = {
            "id": f"{self.path.stem}-{number}" if identity is None else str(identity),
            "task": self.path.stem if task is None else str(task),
            "question": question,
            "options": options,
            "answer": answer,
            "frames": frames,
            "timestamps": timestamps,
            VIDEO_COLUMN: video,
        }
        if self.stage == "dift":
            imagery = as_list(self._take(fields, "imagery"))
            row |= {"response": response, "imagery": self.files.images(imagery, "imagery", where)}
        return row

    def check_columns(self) -> None:
        """See that the rows together have what the stage needs.

        Raises:
            InputError: If no row has a video or frames, a question, or what is learned from it.
        """
        for needed, fault in (
            (("video", "frames"), "no row has a video or frames"),
            (("question",), "no row has a question"),
            (("response",) if self.stage == "dift" else ("answer",), f"no row has {self._goal()}"),
        ):
            if not any(name in self.sources for name in needed):
                accepted = ", ".join(name for one in (*needed, "conversation") for name in _NAMES[one])
                found = ", ".join(self.columns)
                raise InputError(f"{self.path}: {fault}: name a column one of {accepted}; there are {found:.300}")

    def summary(self, rows: int) -> str:
        """One line: which columns the rows were made of, and what was left out."""
        taken = ", ".join(
            f"{name} from {' and '.join(columns)}" for name, columns in self.sources.items() if name != "conversation"
        )
        used = {column for columns in self.sources.values() for column in columns}
        left = [column for column in self.columns if column not in used]
        left += [f"{count} {note}" for note, count in self.notes.items() if count]
        tagged = f"; {count_noun(self.tagged, 'response')} got <answer> tags" if self.tagged else ""
        return f"{self.path}: {count_noun(rows, 'row')} with {taken}{tagged}; left out: {', '.join(left) or 'nothing'}"

    def _goal(self) -> str:
        return "a response to learn from, as `dift` needs" if self.stage == "dift" else "an answer to compare with"

    def _take(self, fields: Mapping[str, tuple[str, Any]], name: str) -> Any:
        """The value of the first filled column of a concept, or `None`."""
        if name in _DIFT_ALONE and self.stage != "dift":
            return None
        for alias in _NAMES[name]:
            column, value = fields.get(alias, (alias, None))
            if not is_empty(value):
                self._note_source(name, column)
                return value
        return None

    def _note_source(self, name: str, column: str) -> None:
        self.sources.setdefault(name, {})[column] = None

    def _exchange(self, fields: Mapping[str, tuple[str, Any]], where: str) -> Exchange:
        messages = self._take(fields, "conversation")
        if messages is None:
            return Exchange()
        exchange = first_exchange(parse_structure(messages), where)
        self.notes["messages beside the first question and its response"] += exchange.left_out
        return exchange

    def _from_chat(self, name: str, value: Any) -> Any:
        """A value that a conversation gave."""
        if not is_empty(value):
            for column in self.sources["conversation"]:
                self._note_source(name, column)
        return value

    def _clip(
        self, fields: Mapping[str, tuple[str, Any]], exchange: Exchange, where: str
    ) -> tuple[list[dict], list[float], str | None]:
        """Frames and their times, or else the file of a video; frames win, as in the published files."""
        frames = as_list(self._take(fields, "frames")) or self._from_chat("frames", exchange.images)
        if frames:
            times = as_list(self._take(fields, "timestamps"))
            timestamps = _as_seconds(times, where) or default_timestamps(len(frames))
            return self.files.images(frames, "frames", where), timestamps, None
        videos = as_list(self._take(fields, "video")) or self._from_chat("video", exchange.videos)
        if not videos:
            return [], [], None
        if len(videos) > 1:
            raise InputError(f"{where}: there are {len(videos)} videos: give one a row")
        video = videos[0].get("path") if isinstance(videos[0], Mapping) else videos[0]
        return [], [], self.files.file(video, "video", where)

    def _words(
        self, fields: Mapping[str, tuple[str, Any]], exchange: Exchange, where: str
    ) -> tuple[str | None, list[Any], str, str | None]:
        """Question, options, answer (its letter, or the text if none fits) and response."""
        question = self._take(fields, "question") or self._from_chat("question", exchange.question)
        question = None if question is None else strip_media_tags(text_of(question, "question", where) or "")
        answer, response = (text_of(self._take(fields, name), name, where) for name in ("answer", "response"))
        if response is None and exchange.response is not None and (self.stage == "dift" or answer is None):
            response = self._from_chat("response" if self.stage == "dift" else "answer", exchange.response)
        key = response if answer is None else answer
        options = self._options(fields, where)
        if not options and question:
            without, listed, after = split_options(question)
            # A response that names no option is no choice between them: the question then stays as it is written.
            if listed and (self.stage != "dift" or find_letter(key, listed, where)):
                question, options = without, listed
                self._note_source("options", "the question")
                self.notes["texts after the options"] += bool(after)
        letter = find_letter(key, options, where)
        if self.stage == "dift" and response is not None:
            tagged = add_answer_tags(response, answer, letter, options)
            self.tagged += tagged != response
            response = tagged
        # What a response says is no answer of its own: if it names no option, the response is at fault.
        stated = answer if self.stage == "dift" else key
        unmatched = "" if stated is None or (self.stage == "dift" and not options) else stated
        return question, options, letter or unmatched, response

    def _options(self, fields: Mapping[str, tuple[str, Any]], where: str) -> list[Any]:
        """The texts of the options that have columns, without letters of their own."""
        value = parse_structure(self._take(fields, "options"))
        if isinstance(value, Mapping):  # by letter or number
            value = [value[name] for name in sorted(value, key=lambda name: (len(str(name)), str(name)))]
        if isinstance(value, str):
            return split_options(value)[1] or [value]
        if value is not None:
            return strip_letters(as_list(value), where)
        columns = {name: match for name in fields if (match := _OPTION_COLUMN.fullmatch(name))}
        first = min((int(match[2]) for match in columns.values() if match[2]), default=1)
        if first > 1:
            named = ", ".join(fields[name][0] for name in columns)
            raise InputError(f"{where}: the columns of options are {named}: number them from 0 or 1")
        found = {}
        for name, match in columns.items():
            column, text = fields[name]
            if not is_empty(text):
                place = OPTION_LETTERS.index(match[1].upper()) if match[1] else int(match[2]) - first
                if place in found:
                    both = f"{found[place][0]} and {column}"
                    raise InputError(f"{where}: {both} both give option {OPTION_LETTERS[place]}: keep one of the two")
                found[place] = (column, text)
                self._note_source("options", column)
        texts = {place: text for place, (_, text) in found.items()}
        return strip_letters([texts.get(place) for place in range(max(texts, default=-1) + 1)], where)


def _as_seconds(times: Sequence[Any], where: str) -> list[float]:
    try:
        return [float(time) for time in times]
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: timestamps holds a value that is no number ({error}): write seconds") from error
