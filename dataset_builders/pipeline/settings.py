"""The stages of a build, and which settings each of them depends on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# In the order in which they run. Of `WINDOW_STAGES` each window of a video has its own results.
STAGES = ("shots", "poses", "objects", "facts", "questions", "rows")
WINDOW_STAGES = ("poses", "objects", "facts", "questions")
OBJECT_SOURCES = ("flow", "files", "none")
# Raise a number when the code of a stage changes what it writes: results of older code are then made anew.
_VERSIONS = {"shots": 1, "poses": 1, "objects": 1, "facts": 1, "questions": 1, "rows": 1}
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "shots": ("seed", "max_windows"),
    "poses": ("seed",),
    "objects": ("seed", "objects"),
    "facts": (),
    "questions": ("seed", "frames", "names"),
}
# Whose results a stage reads.
_INPUTS = {"shots": (), "poses": (), "objects": ("poses",), "facts": ("poses", "objects")}


@dataclass(frozen=True)
class BuildSettings:
    """What a user sets of a build from videos.

    Attributes:
        seed (`int`): Of wording, options, windows and RANSAC.
        frames (`int`): Frames in a row.
        max_windows (`int`): Windows that are taken of one video at most, spread over it.
        objects (`str`): Where moving objects come from: `flow`, `files` (mask files beside the video) or `none`.
        names (`Mapping[str, str]`): What to call the moving object, by the video's path under the source.
    """

    seed: int = 0
    frames: int = 8
    max_windows: int = 4
    objects: str = "flow"
    names: Mapping[str, str] = field(default_factory=dict)


def stage_key(stage: str, settings: BuildSettings, video: Mapping[str, Any], digests: Mapping[str, str]) -> str:
    """Hash of all that the result of a stage depends on.

    A result whose key is still the same need not be made again. Results of earlier stages enter by their content, so
    a change that leaves them as they were goes no further.

    Args:
        stage (`str`): One of `STAGES` but `rows`.
        settings ([`BuildSettings`]): Of which only those that the stage reads count.
        video (`Mapping`): What identifies the input: the file's state and, within it, the window.
        digests (`Mapping[str, str]`): Digest of the result of each earlier stage.
    """
    inputs = _INPUTS.get(stage, ("poses", "objects", "facts"))
    chosen = {name: getattr(settings, name) for name in _SETTINGS[stage]}
    if "names" in chosen:
        chosen["names"] = settings.names.get(video["source"])
    parts = [stage, _VERSIONS[stage], chosen, dict(video), [digests[name] for name in inputs]]
    return digest(parts)


def digest(value: Any) -> str:
    """SHA-256 of a value's JSON text."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
