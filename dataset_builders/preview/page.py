"""The page `preview/index.html` of a dataset folder: some of its rows as a person can judge them."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ...modeling.atomic import atomic_dir, remove_leftovers
from ...modeling.pages import load_page_template
from ...modeling.tokens import IMAGERY_MARK, OPTION_LETTERS
from ..clip_error import shorten_reason
from ..clip_record import POSE_KIND_WORDS, ClipRecord
from ..pipeline.stage_files import is_build_folder
from .build_output import (
    clip_of_row,
    count_pose_kinds,
    count_rows,
    dataset_files,
    has_rows,
    load_clip,
    read_gates,
    read_gates_of_card,
    read_quarantine,
    read_sample,
    right_option,
)
from .descriptions import describe_record
from .pictures import open_picture, save_picture

FOLDER, PAGE = "preview", "index.html"
_TEMPLATE = "index.html.jinja"
_PICTURES = "pictures"
_MOST_LABELS = 20  # of a task; distances in metres have hundreds
_MOST_FAULTS = 500  # that are listed one by one
_QUARANTINE = "quarantine.jsonl"


def write_preview(output: Path, count: int) -> Path:
    """Write a page about some rows of a dataset folder, drawn at random but the same each time.

    It holds no script and refers to nothing outside its folder. An earlier page is replaced as a whole. Where a build
    from videos has no rows, it lists the clips and why they give none.

    Args:
        output (`Path`): The folder that `build-data` has written.
        count (`int`): How many rows.

    Returns:
        `Path`: The page.

    Raises:
        InputError: If the folder has neither rows nor a build from videos.
    """
    files = [] if is_build_folder(output) and not has_rows(output) else dataset_files(output)
    template = load_page_template(Path(__file__).parent, _TEMPLATE)
    remove_leftovers(output)
    with atomic_dir(output / FOLDER) as folder:
        (folder / _PICTURES).mkdir()
        rows = [_describe_row(row, output, folder, number) for number, row in enumerate(read_sample(files, count))]
        text = template.render(rows=rows, **_describe_build(output, files))
        (folder / PAGE).write_text(text, encoding="utf-8")
    return output / FOLDER / PAGE


def _describe_build(output: Path, files: Sequence[Path]) -> dict[str, Any]:
    counts = count_rows(files)
    faults: dict[tuple[str, str], list[dict]] = {}
    quarantine = read_quarantine(output / _QUARANTINE)
    for fault in quarantine:
        faults.setdefault((fault["code"], fault["stage"]), []).append(fault)
    gates = read_gates(output)
    return {
        "name": output.resolve().name,
        "total": counts.splits.total(),
        "splits": counts.splits.most_common(),
        "tasks": [(task, number, counts.labels[task].most_common()) for task, number in counts.tasks.most_common()],
        "most_labels": _MOST_LABELS,
        "pose_kinds": [
            (POSE_KIND_WORDS.get(kind, "unknown"), number) for kind, number in count_pose_kinds(output).most_common()
        ],
        "faults": sorted(faults.items(), key=lambda item: -len(item[1])),
        "quarantine": quarantine[:_MOST_FAULTS],
        "shorten": shorten_reason,
        "gates": gates,
        "gates_text": "" if gates else read_gates_of_card(output),
        "gate_columns": list(dict.fromkeys(column for gate in gates for column in gate)),
    }


def _describe_row(row: dict[str, Any], output: Path, folder: Path, number: int) -> dict[str, Any]:
    """What the template needs of a row; its pictures are written.

    Rows of videos have a record, whose masks and poses take the `data` extra to read; others need none.
    """
    record = load_clip(output, clip_of_row(row["id"]))
    facts = _read_facts(row["facts"])
    options = [
        (OPTION_LETTERS[place], text, text == right_option(row)) for place, text in enumerate(row["options"] or ())
    ]
    return {
        "number": number + 1,
        "row": row,
        "options": options,
        "facts": [(name, json.dumps(value)) for name, value in facts.items()],
        "frames": _save_frames(row, record, folder, number),
        "imagery": _save_imagery(row, folder, number),
        "reasoning": _split_reasoning(row.get("response") or ""),
        "record": record,
        "numbers": describe_record(record) if record else [],
        "charts": _draw_charts(record, facts) if record else [],
    }


def _draw_charts(record: ClipRecord, facts: dict[str, Any]) -> list[dict[str, Any]]:
    from .record_drawings import draw_charts

    seconds = facts.get("seconds")
    return draw_charts(record, (seconds[0], seconds[-1]) if isinstance(seconds, list) and seconds else None)


def _save_frames(
    row: dict[str, Any], record: ClipRecord | None, folder: Path, number: int
) -> list[tuple[str, float, bool]]:
    """Files of the frames with their seconds, and whether each is imagined."""
    frames = []
    imagined = {round(second, 3) for second in row.get("imagery_timestamps") or ()}
    for place, (stored, second) in enumerate(zip(row["frames"], row["timestamps"], strict=True)):
        name = f"{_PICTURES}/{number + 1:04d}-frame-{place + 1:02d}.jpg"
        picture = open_picture(stored)
        save_picture(_outline(picture, record, second) if record else picture, folder / name)
        frames.append((name, second, round(second, 3) in imagined))
    return frames


def _outline(picture: Image.Image, record: ClipRecord, second: float) -> Image.Image:
    from .record_drawings import draw_tracks

    return draw_tracks(picture, record, second)


def _save_imagery(row: dict[str, Any], folder: Path, number: int) -> list[tuple[str, float]]:
    imagery = []
    stored = zip(row.get("imagery") or (), row.get("imagery_timestamps") or (), strict=True)
    for place, (picture, second) in enumerate(stored):
        name = f"{_PICTURES}/{number + 1:04d}-imagery-{place + 1:02d}.jpg"
        save_picture(open_picture(picture), folder / name)
        imagery.append((name, second))
    return imagery


def _split_reasoning(response: str) -> list[tuple[str, int]]:
    """Pieces of the response, each with the number of the imagined frame that follows it, 0 after the last."""
    pieces = re.split(re.escape(IMAGERY_MARK), response)
    return [(piece, place + 1 if place + 1 < len(pieces) else 0) for place, piece in enumerate(pieces)]


def _read_facts(text: str | None) -> dict[str, Any]:
    try:
        facts = json.loads(text or "{}")
    except ValueError:
        return {"facts": text}
    return facts if isinstance(facts, dict) else {"facts": facts}
