"""The stages of a build, and which settings each of them depends on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..mask_models.checkpoints import Checkpoint
    from ..model_files import ModelFiles

from ..writer.settings import WriterSettings

# In the order in which they run. Workers run `WINDOW_STAGES` on each window of a video. Questions are chosen over the
# whole dataset, so that wrong options tell nothing; rows are the questions with their pictures.
STAGES = ("shots", "poses", "objects", "depth", "facts", "questions", "rows")
WINDOW_STAGES = ("poses", "objects", "depth", "facts")
# What is asked: the camera's motion, objects' motion, two families that take depth (MLLM-4D's, DSR-Bench's), and what
# comes after the video was cut.
QUESTION_FAMILIES = ("camera", "object", "mllm4d", "dsr", "future")
# Layouts of other people's data, as `layouts.source` reads them; `auto` is any.
FORMATS = ("auto", "spatialvid", "vipe", "megasam", "stereo4d", "colmap")
OBJECT_SOURCES = ("flow", "sam3", "sam2", "edgetam", "sam3_tracker", "files", "none")
ALL_VIDEOS = "*"  # in the file of names
# Pixels a side of what becomes one token, for each kind of backbone that rows can be made for.
TOKEN_PIXELS = {"qwen2_5_vl": 28, "qwen3_vl": 32}
# Raise a number when the code of a stage changes what it writes: results of older code are then recomputed.
_VERSIONS = {"shots": 3, "poses": 2, "objects": 3, "depth": 1, "facts": 6, "questions": 5, "rows": 1}
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "shots": ("seed", "max_windows"),
    "poses": ("seed",),
    "objects": ("seed", "objects"),
    "depth": (),
    "facts": (),
    "questions": ("seed", "frames", "backbone", "questions"),
}
# Whose results a stage reads.
_INPUTS: Mapping[str, tuple[str, ...]] = {
    "shots": (),
    "poses": (),
    "objects": ("poses",),
    "depth": ("poses", "objects"),
    "facts": ("poses", "objects", "depth"),
    "questions": ("poses", "objects", "depth", "facts"),
}


@dataclass(frozen=True)
class BuildSettings:
    """What a user sets of a build from videos.

    Attributes:
        seed (`int`): Of wording, options, windows and RANSAC.
        frames (`int`): Frames in a row.
        max_windows (`int`): Windows that are taken of one video at most, spread over it.
        objects (`str`): Where moving objects come from: `flow`, a mask model, `files` (mask files beside the video) or
            `none`.
        mask_model ([`Checkpoint`], *optional*): The model that `objects` names.
        names (`Mapping[str, tuple[str, ...]]`): What to call the moving object, or what a model looks for, by the
            video's path under the source; of `*` for all others.
        backbone (`str`): The kind of model, of `TOKEN_PIXELS`, in whose pixels frames and reasoning are.
        licence (`str`, *optional*): Hub id of the terms of the videos.
        questions (`tuple[str, ...]`): Of `QUESTION_FAMILIES`, what to ask.
        depth ([`ModelFiles`], *optional*): A model that guesses metric depth, for clips without one.
        writer ([`WriterSettings`], *optional*): The language model that words names and reasoning; templates without.
    """

    seed: int = 0
    frames: int = 8
    max_windows: int = 4
    objects: str = "flow"
    mask_model: "Checkpoint | None" = None
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    backbone: str = "qwen2_5_vl"
    licence: str | None = None
    questions: tuple[str, ...] = ("camera", "object")
    depth: "ModelFiles | None" = None
    writer: WriterSettings | None = None

    @property
    def models(self) -> "tuple[ModelFiles, ...]":
        """The models that every worker loads."""
        return tuple(model for model in (self.mask_model, self.depth) if model is not None)

    def names_of(self, source: str) -> tuple[str, ...]:
        """Names for a video, by its path under the source; none where the user gave none."""
        return self.names.get(source, self.names.get(ALL_VIDEOS, ()))


def stage_key(stage: str, settings: BuildSettings, subject: Any, digests: Mapping[str, str]) -> str:
    """Hash of all that the result of a stage depends on.

    A result whose key is still the same need not be made again. Results of earlier stages enter by their content, so
    a change that leaves them as they were goes no further.

    Args:
        stage (`str`): One of `STAGES` but `rows`.
        settings ([`BuildSettings`]): Of which only those that the stage reads count.
        subject (`Any`): What the stage works on, as JSON values: the file's state, the window, what is to be asked.
        digests (`Mapping[str, str]`): Digest of the result of each earlier stage.
    """
    chosen = {name: getattr(settings, name) for name in _SETTINGS[stage]}
    return digest([stage, _VERSIONS[stage], chosen, subject, [digests[name] for name in _INPUTS[stage]]])


def rows_key(clips: Any) -> str:
    """Hash of all that the rows of a dataset depend on.

    Args:
        clips (`Any`): As JSON values, for each split the clips with the digests of their questions.
    """
    return digest(["rows", _VERSIONS["rows"], clips])


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
