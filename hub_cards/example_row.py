"""One row of a data set for its card: its words, and its pictures on one sheet."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..modeling.atomic import atomic_path

ASSETS, SHEET = "assets", "row.jpg"
_WIDTH, _COLUMNS, _GAP, _TEXT, _LETTER = 720, 4, 8, 26, 20  # pixels; on a phone a letter is half as high
# Columns of pictures: what one is called, and the column of its times.
_PICTURES = {
    "frames": ("frame", "timestamps"),
    "imagery": ("imagery", "imagery_timestamps"),
    "imagery_masks": ("mask", "imagery_timestamps"),
}
_LIMIT = 1_000_000  # bytes of the sheet


def read_example_row(path: Path) -> dict[str, Any]:
    """The first row of a Parquet file, its pictures as encoded bytes."""
    from pyarrow.parquet import ParquetFile

    with ParquetFile(path) as file:
        return next(file.iter_batches(batch_size=1)).to_pylist()[0]


def describe_row(row: Mapping[str, Any]) -> str:
    """The columns of a row but its pictures, as YAML-like lines that a reader can follow."""
    import yaml

    shown = {}
    for name, value in row.items():
        if name in _PICTURES:
            shown[name] = f"{len(value)} pictures" if value else None
        elif name == "facts":
            shown[name] = _facts(value)
        else:
            shown[name] = _round(value)
    return yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def draw_row(folder: Path, row: Mapping[str, Any]) -> str | None:
    """Draw the pictures of a row on one sheet below `assets/`: frames with their times, the imagery, its masks.

    Returns:
        `str`: Its place in the folder; `None` where the row has no picture.
    """
    from PIL import Image, ImageDraw, ImageFont

    groups = []
    for column, (name, times) in _PICTURES.items():
        pictures = [_open(entry) for entry in row.get(column) or ()]
        seconds = list(row.get(times) or ())
        seconds += [None] * (len(pictures) - len(seconds))
        if any(pictures):
            groups.append((name, list(zip(pictures, seconds, strict=False))))
    if not groups:
        return None
    side = (_WIDTH - _GAP) // _COLUMNS - _GAP
    first = next(picture for _, pairs in groups for picture, _ in pairs if picture)
    height = max(1, round(side * first.height / first.width))
    lines = sum(-(-len(pairs) // _COLUMNS) for _, pairs in groups)
    sheet = Image.new("RGB", (_WIDTH, lines * (height + _TEXT + _GAP) + _GAP), "white")
    pen, top, font = ImageDraw.Draw(sheet), _GAP, ImageFont.load_default(_LETTER)
    for name, pairs in groups:
        for start in range(0, len(pairs), _COLUMNS):
            for place, (picture, second) in enumerate(pairs[start : start + _COLUMNS]):
                left = _GAP + place * (side + _GAP)
                title = f"{name} {start + place + 1}"
                words = title if second is None else f"{title}: {second:.1f} s"
                pen.text((left, top), words, fill="black", font=font)
                if picture is not None:
                    sheet.paste(picture.resize((side, height)), (left, top + _TEXT))
            top += height + _TEXT + _GAP
    (folder / ASSETS).mkdir(exist_ok=True)
    with atomic_path(folder / ASSETS / SHEET) as temporary:
        for quality in (88, 70, 50, 30):
            encoded = io.BytesIO()
            sheet.save(encoded, "JPEG", quality=quality, optimize=True)
            if encoded.tell() <= _LIMIT:
                break
        temporary.write_bytes(encoded.getvalue())
    return f"{ASSETS}/{SHEET}"


def _round(value: Any) -> Any:
    """Seconds to the millisecond."""
    if isinstance(value, list):
        return [_round(one) for one in value]
    return round(value, 3) if isinstance(value, float) else value


def _open(entry: Any):
    from PIL import Image

    data = entry.get("bytes") if isinstance(entry, Mapping) else None
    return Image.open(io.BytesIO(data)).convert("RGB") if data else None


def _facts(value: Any) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError):
        return value
