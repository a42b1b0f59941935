"""Validate rows before training."""

import functools
import logging
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from PIL import Image

from ...dataset_builders.loading import VIDEO_COLUMN
from ...modeling.errors import InputError
from ...modeling.offered_options import choice_fault
from ...modeling.row_rules import ON_BAD_ROW, Stage, row_fault
from ..rewards.spatiotemporal import CENTER_COLUMNS, read_centers
from .images import IMAGE_COLUMNS

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 1000
_PROMPT = ("question", "options", "frames", "timestamps")
# What each stage reads of a row. What is there besides is checked as well where something would read it.
_NEEDED: dict[str, tuple[str, ...]] = {
    "dift": ("id", *_PROMPT, "response", "imagery"),
    "grpo": (*_PROMPT, "answer"),
    "best-of-n": ("id", *_PROMPT, "answer", "task", *CENTER_COLUMNS),
    "eval": (*_PROMPT, "answer", "task"),
}
_VALUES = ("id", "question", "options", "timestamps", "answer", "task", "response", VIDEO_COLUMN, *CENTER_COLUMNS)

Check = Callable[[int], str | None]


def validate_rows(
    rows: "Dataset", stage: Stage, on_bad_row: str = "stop", masks: bool = False, letters: bool = True
) -> "Dataset":
    """Validate the rows of a stage.

    Texts, options, answer, times, imagery marks and centres are checked as [`~modeling.row_rules.row_fault`] says, and
    every image must be there, in the row or as a file, and so must the video of a row that names one. Of an image
    its header is read, and of a video the header and the first frame: what is no image, no video or cut off that
    early is a bad row, and so are frames of unequal size. Damage further in is not looked for, which would cost a
    decoding of everything: it stops the run when its row comes, in a line that names it.

    Args:
        rows (`datasets.Dataset`): The rows.
        stage (`str`): `"dift"`, `"grpo"`, `"best-of-n"` or `"eval"`.
        on_bad_row (`str`, *optional*, defaults to `"stop"`): `"skip"` leaves bad rows out, with a warning for each.
        masks (`bool`, *optional*, defaults to `False`): Whether each imagery frame needs a mask, as for
            `latent_pooling="region"`.
        letters (`bool`, *optional*, defaults to `True`): Whether `answer` must be the letter of an option, or may be
            anything, or missing.

    Returns:
        `datasets.Dataset`: All the rows, or without the bad ones.

    Raises:
        InputError: On a bad row, unless they are skipped; if no row is left, or a column is missing.
    """
    if on_bad_row not in ON_BAD_ROW:
        raise InputError(f"on_bad_row is {on_bad_row!r}: choose one of {', '.join(ON_BAD_ROW)}")
    needed = [name for name in _NEEDED[stage] if letters or name != "answer"]
    needed += ["imagery_masks"] if masks else []
    if missing := [name for name in needed if name not in rows.column_names]:
        raise InputError(f"the rows have no column {', '.join(missing)}: make them with `fourdthinker build-data`")
    bad = dict(_faults(rows, stage, masks, letters))
    if not bad:
        return rows
    summary = f"{len(bad)} of {len(rows)} rows cannot be {'trained on' if stage in ('dift', 'grpo') else 'used'}"
    names = rows.with_format(None)["id"] if "id" in rows.column_names else []  # reading a row may decode its video
    if on_bad_row == "stop":
        number, reason = next(iter(bad.items()))
        first = f"the first is {_name(names, number)}: {reason}"
        raise InputError(f"{summary}; {first} (--on-bad-row skip leaves them out)")
    for number, reason in bad.items():
        logger.warning("row %s is left out: %s", _name(names, number), reason)
    if len(bad) == len(rows):
        raise InputError(f"{summary}, so none is left; the warnings say why")
    logger.warning("%s and are left out", summary)
    return rows.select([number for number in range(len(rows)) if number not in bad])


def needs_masks(args: Any, model: Any) -> bool:
    """Whether a run of DIFT needs `imagery_masks`.

    Args:
        args ([`DIFTConfig`]): The settings; those of another stage need none.
        model: The model, its folder or its Hub id; its pooling holds if the settings name none.
    """
    from transformers import PreTrainedConfig

    if getattr(args, "drop_imagery", True):
        return False
    if args.latent_pooling is not None:
        return args.latent_pooling == "region"
    if not isinstance(model, (str, os.PathLike)):
        return model.config.latent_pooling == "region"
    try:
        revision = (args.model_init_kwargs or {}).get("revision")
        pinned = {"revision": revision} if revision else {}
        return PreTrainedConfig.get_config_dict(model, **pinned)[0].get("latent_pooling") == "region"
    except OSError:  # no such model, as loading it will say
        return False


def _name(names: Any, number: int) -> str:
    identity = names[number] if len(names) else None
    return f"number {number + 1}" if identity in (None, "") else str(identity)


def _faults(rows: "Dataset", stage: Stage, masks: bool, letters: bool) -> Iterator[tuple[int, str]]:
    """Number and reason of each bad row."""
    images = [name for name in IMAGE_COLUMNS if name in rows.column_names and (name == "frames" or stage == "dift")]
    values = [name for name in _VALUES if name in rows.column_names and (letters or name != "answer")]
    columns = [*values, *images]
    start = 0
    for table in rows.select_columns(columns).with_format("arrow").iter(_ROWS_AT_ONCE):
        checks = [_wrong_images(table, name) for name in images]
        checks += [_missing_frames(table), _wrong_values(table, stage)]
        if stage == "dift":
            checks.append(_wrong_masks(table, masks))
        for number in range(table.num_rows):
            reason = next(filter(None, (check(number) for check in checks)), None)
            if reason:
                yield start + number, reason
        start += table.num_rows


def _wrong_values(table: "pyarrow.Table", stage: Stage) -> Check:
    rows = table.select([name for name in _VALUES if name in table.column_names]).to_pylist()
    frames = _lengths(table, "frames")
    imagery = _lengths(table, "imagery") if stage == "dift" else [None] * len(rows)

    def check(number: int) -> str | None:
        row = rows[number]
        faults = [row_fault(row, stage, frames[number] or None, imagery[number])]
        if stage == "dift":
            # Without an answer of its own a row has the one of its response, so the response is to blame first.
            faults.insert(bool(row.get("answer")), choice_fault(row))
        if fault := next(filter(None, faults), None):
            return fault
        if stage in ("grpo", "best-of-n"):
            try:
                for name in CENTER_COLUMNS:
                    read_centers(row.get(name), name)
            except InputError as error:
                return str(error)
        return None

    return check


def _wrong_masks(table: "pyarrow.Table", needed: bool) -> Check:
    imagery, masks = _lengths(table, "imagery"), _lengths(table, "imagery_masks")

    def check(number: int) -> str | None:
        mask_count, image_count = masks[number] or 0, imagery[number] or 0
        if mask_count == image_count or (mask_count == 0 and not needed):
            return None
        return f"imagery_masks has {mask_count}, imagery {image_count}: write one mask for each frame"

    return check


def _missing_frames(table: "pyarrow.Table") -> Check:
    frames = _lengths(table, "frames")
    videos = table[VIDEO_COLUMN].to_pylist() if VIDEO_COLUMN in table.column_names else [None] * table.num_rows

    def check(number: int) -> str | None:
        if frames[number]:
            return None
        if videos[number]:
            return _video_fault(videos[number])
        return "it has no frames: give one image at least"

    return check


def _lengths(table: "pyarrow.Table", name: str) -> list[int | None]:
    """Length of the list of each row."""
    import pyarrow.compute

    if name not in table.column_names or pyarrow.types.is_null(table[name].type):
        return [None] * table.num_rows
    return pyarrow.compute.list_value_length(table[name]).to_pylist()


@functools.lru_cache(maxsize=1)  # the rows of a video often stand together
def _video_fault(file: str) -> str | None:
    from ...dataset_builders.sources.video_reader import check_video

    if not os.path.isfile(file):
        return f"its video is not there: {file}"
    try:
        check_video(file)
    except InputError as error:
        return f"its video is damaged: {error}"
    return None


def _wrong_images(table: "pyarrow.Table", name: str) -> Check:
    import pyarrow.compute

    from ...modeling.processing import sizes_fault

    column = table[name].combine_chunks()
    if pyarrow.types.is_null(column.type):
        return lambda number: None
    _check_type(column.type, name)
    images: Any = pyarrow.compute.list_flatten(column)
    contents, paths, absent = images.field("bytes"), images.field("path").to_pylist(), images.is_null()
    ends = [0]
    for length in _lengths(table, name):
        ends.append(ends[-1] + (length or 0))
    read_file = functools.cache(_read_file)

    def check(number: int) -> str | None:
        sizes = []
        for place in range(ends[number], ends[number + 1]):
            content, path = contents[place], paths[place]
            if content.is_valid and not absent[place].as_py():
                found = _size_or_fault(pyarrow.BufferReader(content.as_buffer()))
            elif path is None:
                found = "is not there: neither bytes nor a file name"
            else:
                found = read_file(path)
            if isinstance(found, str):
                return f"{name} {place - ends[number] + 1} {found}"
            sizes.append(found)
        return sizes_fault(sizes) if name == "frames" and sizes else None

    return check


def _check_type(kind: "pyarrow.DataType", name: str) -> None:
    import pyarrow.types as types

    holds_images = (types.is_list(kind) or types.is_large_list(kind)) and types.is_struct(kind.value_type)
    if not holds_images or {"bytes", "path"} - {field.name for field in kind.value_type}:
        raise InputError(f"the column {name} holds {kind}, no images: make the rows again with `List(Image())`")


def _read_file(path: str) -> tuple[int, int] | str:
    return _size_or_fault(path) if os.path.isfile(path) else f"is not there: {path}"


def _size_or_fault(file: Any) -> tuple[int, int] | str:
    """Width and height of a picture in pixels, or what is wrong with it."""
    from ...modeling.images import UNREADABLE, upright_size

    try:
        with Image.open(file) as picture:
            return upright_size(picture)
    except UNREADABLE:
        return f"is no image, or damaged: {file}" if isinstance(file, str) else "is no image, or damaged"
