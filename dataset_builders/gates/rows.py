"""The rows of a dataset folder as the gates see them: their words, which clip they are of, and a few pictures."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...modeling.errors import InputError
from ...modeling.row_rules import answer_fault, options_fault
from ...modeling.tokens import OPTION_LETTERS
from ..world.scene import WORLD_SOURCE

SAMPLE = 2000  # rows that are guessed at, and whose frames are decoded
SIDE = 14  # pixels of the pictures that a guess is made from: the patches of a 224 pixel frame, too few to read in
FRAMES = ("first", "middle", "last")
_WORDS = ["id", "source", "task", "question", "options", "answer"]


class Picture(NamedTuple):
    """What is kept of a frame.

    Attributes:
        pixels (`np.ndarray` of shape `(SIDE, SIDE, 3)`): uint8.
        bits (`np.ndarray` of shape `(64,)`): Its perceptual hash, booleans.
    """

    pixels: np.ndarray
    bits: np.ndarray


@dataclass
class Row:
    """A question.

    Attributes:
        name (`str`): The row's `id`.
        split, source, task, question (`str`): Of its columns.
        options (`tuple[str, ...]`): Texts.
        right (`int`): Which of them is right.
        frames (`tuple[bytes, ...]`): A digest of each frame's file.
        clip (`int`): Rows of one source, or with a frame in common, have the same number.
        pictures (`tuple[Picture, ...]`): First, middle and last frame, if the row is in the sample.
    """

    name: str
    split: str
    source: str
    task: str
    question: str
    options: tuple[str, ...]
    right: int
    frames: tuple[bytes, ...] = ()
    clip: int = 0
    pictures: tuple[Picture, ...] = field(default=(), repr=False)


def read_rows(folder: Path, seed: int) -> tuple[list[Row], list[Row]]:
    """Every question of a dataset folder, once, however many configurations have it.

    Args:
        folder (`Path`): That `write_dataset` has written.
        seed (`int`): Of the sample.

    Returns:
        `tuple[list[Row], list[Row]]`: All rows with two options or more, and those of them in the sample, which have
        pictures. The smaller a split, the larger a part of it is in the sample.

    Raises:
        InputError: If the folder holds no such dataset, or a row has a wrong answer letter.
    """
    rows: dict[tuple, Row] = {}
    for split, record in _stream(folder, _WORDS):
        if record["options"]:
            row = _row(split, record)
            rows.setdefault(_key(split, record), row)
    sample = _sample(list(rows.values()), seed)
    chosen = {id(row) for row in sample}
    pictures: dict[bytes, Picture] = {}
    for split, record in _stream(folder, [*_WORDS, "frames"]):
        row = rows.get(_key(split, record))
        if row is not None and not row.frames and record["frames"]:
            with _naming_row(row):
                _look(row, [frame["bytes"] for frame in record["frames"]], pictures if id(row) in chosen else None)
    _number_clips(list(rows.values()))
    return list(rows.values()), sample


def _stream(folder: Path, columns: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of every configuration and split, with their split's name; frames stay encoded."""
    from datasets import get_dataset_config_names, load_dataset_builder

    from ..parquet_rows import stream_parquet

    if not (folder / "README.md").is_file():
        raise InputError(f"{folder} is no dataset folder: name one that `fourdthinker build-data` has written")
    try:
        for name in get_dataset_config_names(str(folder)):
            for split, paths in load_dataset_builder(str(folder), name).config.data_files.items():
                for row in stream_parquet([Path(path) for path in paths], columns):
                    yield str(split), row
    except (OSError, ValueError, KeyError, TypeError) as error:  # what a damaged, missing or foreign file raises
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"the Parquet files of {folder} cannot be read ({reason}): build it again") from error


def _key(split: str, record: dict[str, Any]) -> tuple:
    return split, record["id"], record["question"]


def _row(split: str, record: dict[str, Any]) -> Row:
    fault = options_fault(record["options"]) or answer_fault(record["answer"], record["options"])
    if fault:
        raise InputError(f"row {record['id']!r}: {fault}")
    texts = (str(record[name]) for name in ("source", "task", "question"))
    return Row(record["id"], split, *texts, tuple(record["options"]), OPTION_LETTERS.index(record["answer"]))


def _sample(rows: Sequence[Row], seed: int) -> list[Row]:
    order = np.random.default_rng(seed).permutation(len(rows))
    sizes = sorted(Counter(row.split for row in rows).items(), key=lambda pair: pair[1])
    places, left = [], SAMPLE
    for number, (split, size) in enumerate(sizes):
        share = min(size, left // (len(sizes) - number))
        left -= share
        places += [place for place in order if rows[place].split == split][:share]
    return [rows[place] for place in sorted(places)]


@contextmanager
def _naming_row(row: Row) -> Iterator[None]:
    try:
        yield
    except (OSError, TypeError) as error:  # no picture, or none at all
        raise InputError(f"row {row.name!r}: a frame cannot be read as a picture: build the dataset again") from error


def _look(row: Row, files: Sequence[bytes], pictures: dict[bytes, Picture] | None) -> None:
    row.frames = tuple(hashlib.sha256(file).digest() for file in files)
    if pictures is None:
        return
    found = []
    for place in (0, len(files) // 2, len(files) - 1):
        digest = row.frames[place]
        if digest not in pictures:
            pictures[digest] = _picture(files[place])
        found.append(pictures[digest])
    row.pictures = tuple(found)


def _picture(file: bytes) -> Picture:
    import imagehash
    from PIL import Image

    image = Image.open(BytesIO(file))
    image.draft("RGB", (64, 64))
    image = image.convert("RGB")
    pixels = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX))
    return Picture(pixels, imagehash.phash(image).hash.ravel())


def _number_clips(rows: Sequence[Row]) -> None:
    """Give rows that share a source or a frame the same number."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    things: dict[tuple, int] = {}
    edges = []
    for place, row in enumerate(rows):
        shared: list[tuple] = [("frame", frame) for frame in row.frames]
        if row.source != WORLD_SOURCE:
            shared.append(("source", row.source))
        edges += [(place, len(rows) + things.setdefault(thing, len(things))) for thing in shared]
    size = len(rows) + len(things)
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    _, numbers = connected_components(
        coo_array((np.ones(len(edges)), tuple(ends)), shape=(size, size)), directed=False
    )
    for row, number in zip(rows, numbers, strict=False):
        row.clip = int(number)
