"""Dyn-Bench (arXiv 2603.12746): what camera, objects and scene do in real and rendered videos; its questions.

Its masks are in `masks.dyn_bench`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...modeling.errors import InputError
from ...modeling.row_rules import name_row
from ...modeling.tokens import format_options
from ..benchmark import Benchmark, FramePolicy
from .published import answer_letter, option_texts, pick, read_table, type_name, video_file

CATEGORIES = ("camera", "inter", "scene")
# The three files of a scene, by the end of their names, and the same in words.
_CATEGORY_NAMES = {
    "camera": ("camera", "cameraqa", "camera_qa", "camera_object", "cameramask", "camera_mask"),
    "inter": ("inter", "qa", "interqa", "inter_object", "objqa", "obj_qa", "objmask", "obj_mask", "object"),
    "scene": ("scene", "sceneqa", "scene_qa", "object_scene", "scenemask", "scene_mask"),
}
_QUESTION_FILES = {"camera": "cameraqa", "inter": "qa", "scene": "sceneqa"}
_TABLE = "qa_tasks.parquet"


def read_category(folder: Path, category: str) -> list[dict[str, Any]]:
    """The questions of one category, from `qa_tasks.parquet` or the files below `multi_json`.

    Args:
        folder (`Path`): Holds one of the two, and `frames/<dataset>/<scene>/` or `videos/<dataset>/<scene>.mp4`.
        category (`str`): `"camera"`, `"inter"` or `"scene"`.

    Returns:
        `list[dict]`: Rows with `id`, `task` (the category), `question`, `options`, `answer`, `video`, `frame_folder`
        (where the official frames lie, or nothing), `video_id` and `source`.

    Raises:
        InputError: If there is neither, or a row lacks what a question needs; the line names the row.
    """
    published = list(_table_rows(folder) if (folder / _TABLE).is_file() else _file_rows(folder))
    rows = [_row(folder, number, *entry) for number, entry in enumerate(published)]
    return [row for row in rows if row["task"] == category]


def category_of(name: str) -> str:
    """The category that a published name means, such as `Camera-Object` or `sceneqa`.

    Raises:
        InputError: If it means none.
    """
    found = next((category for category, names in _CATEGORY_NAMES.items() if type_name(name) in names), None)
    if found is None:
        raise InputError(f"unknown type of question {name!r}: dyn_bench has {', '.join(CATEGORIES)}")
    return found


def direct_prompt(question: str, options: Sequence[str]) -> str:
    """The official wording: the letter is asked for directly."""
    listed = format_options(options)
    return f"{question}\n{listed}\nAnswer with the option's letter from the given choices directly."


def _table_rows(folder: Path) -> Iterator[tuple[str, str, str, dict]]:
    """Dataset, scene, category and fields of each row of the table."""
    for number, row in enumerate(read_table(folder / _TABLE)):
        with name_row({"id": f"dyn_bench-{number}"}):
            names = (pick(row, "dataset", "source"), pick(row, "video_name", "video", "scene", "video_id"))
            yield *map(str, names), category_of(str(pick(row, "task", "type", "category"))), row


def _file_rows(folder: Path) -> Iterator[tuple[str, str, str, dict]]:
    """The same of the files `multi_json/<dataset>/<scene>_<suffix>.json`."""
    base = folder / "multi_json"
    if not base.is_dir():
        raise InputError(f"{folder} holds no {_TABLE} or multi_json")
    for path in sorted(base.glob("*/*.json")):
        scene, _, suffix = path.stem.rpartition("_")
        category = next((name for name, ending in _QUESTION_FILES.items() if ending == suffix), None)
        if category is not None:
            yield from ((path.parent.name, scene, category, row) for row in read_table(path))


def _row(folder: Path, number: int, source: str, scene: str, category: str, published: dict) -> dict[str, Any]:
    row = {"id": f"dyn_bench-{number}", "task": category}
    with name_row(row):
        options = option_texts(pick(published, "options", "choices"))
        name = scene if scene.startswith(f"{source}/") else f"{source}/{scene}"
        frames = Path(video_file(folder / "frames", f"{Path(name).with_suffix('')}.mp4", ("",))).with_suffix("")
        return {
            **row,
            "question": str(pick(published, "question")),
            "options": options,
            "answer": answer_letter(pick(published, "answer"), options),
            "video": video_file(folder, name),
            "frame_folder": str(frames) if frames.is_dir() else "",
            "video_id": name,
            "source": source,
        }


BENCHMARKS = tuple(
    Benchmark(
        name=f"dyn_bench_{category}",
        read=partial(read_category, category=category),
        types=(category,),
        variable="DYN_BENCH_ROOT",
        dataset="yu2hi13/Dyn-Bench",
        cache_name="dyn_bench",
        contents="qa_tasks.parquet or multi_json/, and frames/<dataset>/<scene>/ or videos/<dataset>/<scene>.mp4",
        prompt=direct_prompt,
        # All provided frames: with the frames of a video at hand those, else the whole video, as far as this goes.
        frames=FramePolicy(max_frames=128),
        rule="dyn_bench",
        group="dyn_bench",
    )
    for category in CATEGORIES
)
