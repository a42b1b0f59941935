"""Dyn-Bench's mask tasks: which object a question means, as masks that a model has written to a folder."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...modeling.errors import InputError, count_noun
from ...modeling.text_files import read_text
from ..benchmarks.dyn_bench import BENCHMARKS, CATEGORIES
from ..data_folder import find_data
from ..scores import align_table
from .region_scores import RegionScores, score_masks

if TYPE_CHECKING:
    import numpy as np

_QUESTION_FILES = {"cameramask": "camera", "objmask": "inter", "scenemask": "scene"}
_SUFFIXES = (".png", ".jpg", ".jpeg")
_FRAME = re.compile(r"frame_(\d+)_obj(.+)")
# Of a truth that is missing before any is there.
_FIRST_SHAPE = (480, 640)


@dataclass(frozen=True)
class MaskQuestion:
    """One object to be found.

    Attributes:
        category (`str`): `"camera"`, `"inter"` or `"scene"`.
        source (`str`): The dataset that the video comes from.
        scene (`str`): The name of the video.
        object_id (`str`): Whose last part after `_` is the number in the names of its masks.
    """

    category: str
    source: str
    scene: str
    object_id: str

    @property
    def number(self) -> str:
        """The number in the names of its masks."""
        return self.object_id.rpartition("_")[2]


def score_mask_folder(predictions: Path) -> dict[str, Any]:
    """Score the masks in a folder against Dyn-Bench's.

    Args:
        predictions (`Path`): Holds `<category>/<dataset>/<scene>/frame_<0000>_obj<N>.png` (or `.jpg`), named as the
            true masks are; a pixel counts if it is brighter than half.

    Returns:
        `dict`: `j`, `f`, `j_and_f` between 0 and 1, the plain means over categories as published; `n`; `missing`, the
        objects without any mask, which count as 0; and `tasks`, the same for each category.

    Raises:
        InputError: If the data or the folder are not there, a mask cannot be read, or none is named as a question's.
    """
    if not predictions.is_dir():
        raise InputError(f"{predictions}: no such folder; --masks takes <category>/<dataset>/<scene>/frame_*_obj*.png")
    data = find_data(BENCHMARKS[0])
    questions = list(mask_questions(data))
    found = {question: _predicted_files(predictions, question) for question in questions}
    if not any(found.values()):
        example = questions[0]
        raise InputError(
            f"{predictions} has no mask of any question, such as "
            f"{example.category}/{example.source}/{example.scene}/frame_0000_obj{example.number}.png"
        )
    scores = {question: _score(data, question, files) for question, files in found.items()}
    tasks = {}
    for category in CATEGORIES:
        own = [question for question in questions if question.category == category]
        if own:
            missing = sum(not found[question] for question in own)
            tasks[category] = {"n": len(own), "missing": missing, **_means([scores[question] for question in own])}
    names = ("j", "f", "j_and_f")
    overall = {name: sum(task[name] for task in tasks.values()) / len(tasks) for name in names}
    return {"n": len(questions), "missing": sum(not files for files in found.values()), **overall, "tasks": tasks}


def format_mask_scores(scores: Mapping[str, Any], title: str = "") -> str:
    """A plain table of `score_mask_folder`'s result, in per cent."""
    table = [("task", "n", "J", "F", "J&F", "missing")]
    for name, entry in [*scores["tasks"].items(), ("mean of tasks", scores)]:
        shares = [f"{100 * entry[key]:.1f}" for key in ("j", "f", "j_and_f")]
        table.append((name, str(entry["n"]), *shares, str(entry["missing"])))
    note = f"{count_noun(scores['missing'], 'object')} without any mask counted as 0"
    return "\n".join([*([title] if title else []), *align_table(table), note])


def mask_questions(data: Path) -> Iterator[MaskQuestion]:
    """The objects to be found, from the files `multi_json/<dataset>/<scene>_{cameramask,objmask,scenemask}.json`.

    Raises:
        InputError: If there is none, or one is no JSON object.
    """
    found = 0
    for path in sorted((data / "multi_json").glob("*/*.json")):
        scene, _, suffix = path.stem.rpartition("_")
        if suffix not in _QUESTION_FILES:
            continue
        try:
            objects = json.loads(read_text(path))
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {path} ({error})") from error
        if not isinstance(objects, dict):
            raise InputError(f"{path} is no JSON object of object ids")
        found += len(objects)
        for object_id in objects:
            yield MaskQuestion(_QUESTION_FILES[suffix], path.parent.name, scene, object_id)
    if not found:
        raise InputError(f"{data} holds no multi_json/<dataset>/<scene>_cameramask.json, _objmask.json or _scenemask")


def _score(data: Path, question: MaskQuestion, predicted: list[Path]) -> RegionScores:
    if not predicted:
        return RegionScores(0.0, 0.0)
    return score_masks([_read_mask(path) for path in predicted], _true_masks(data, question))


def _true_masks(data: Path, question: MaskQuestion) -> list["np.ndarray"]:
    """The masks of an object, one for each frame of its video; a missing file is an empty mask, as published."""
    import numpy as np

    files = _mask_files(data / "masks" / question.source / question.scene)
    frames = data / "frames" / question.source / question.scene
    count = sum(path.suffix.lower() in _SUFFIXES for path in frames.glob("*"))
    if not count:
        count = 1 + max((index for index, _ in files), default=-1)
    masks: list[np.ndarray] = []
    for index in range(count):
        path = files.get((index, question.number))
        shape = masks[-1].shape if masks else _FIRST_SHAPE
        masks.append(np.zeros(shape) if path is None else _read_mask(path))
    return masks


def _predicted_files(predictions: Path, question: MaskQuestion) -> list[Path]:
    files = _mask_files(predictions / question.category / question.source / question.scene)
    return [path for (_, number), path in sorted(files.items()) if number == question.number]


def _mask_files(folder: Path) -> dict[tuple[int, str], Path]:
    """The masks in a folder by frame and number of the object."""
    named = ((path, _FRAME.fullmatch(path.stem)) for path in folder.glob("frame_*") if path.suffix in _SUFFIXES)
    return {(int(match[1]), match[2]): path for path, match in named if match}


def _read_mask(path: Path) -> "np.ndarray":
    """Shares between 0 and 1 of full brightness; a mask of ones and zeros alone is as bright as it can be at 1."""
    import numpy as np
    from PIL import Image

    from ...modeling.images import UNREADABLE

    try:
        with Image.open(path) as image:
            # The colours of a palette tell objects apart and say nothing about their brightness.
            values = np.asarray(image) > 0 if image.mode == "P" else np.asarray(image.convert("L"))
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be decoded ({error}): write it again") from error
    return values.astype(float) / (255.0 if values.size and values.max() > 1 else 1.0)


def _means(scores: list[RegionScores]) -> dict[str, float]:
    return {name: sum(getattr(score, name) for score in scores) / len(scores) for name in ("j", "f", "j_and_f")}
