"""The stage `depth`: how far away everything is, from files beside the clip or as a network guesses it."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PIL import Image

from ..clip_error import ClipError
from ..clip_record import ClipRecord
from ..geometry.depth_maps import stack_depth
from .record_json import depth_to_json

if TYPE_CHECKING:
    from ..layouts.imported_clip import ImportedClip
    from ..model_files import ModelFiles


def find_depth(
    record: ClipRecord,
    imported: "ImportedClip | None",
    model: "ModelFiles | None",
    frames: Callable[[], Sequence[Image.Image]],
) -> dict[str, Any]:
    """Depth that comes with the clip, else what a named network guesses, which gives poses their metre.

    Args:
        record ([`ClipRecord`]): With camera and objects.
        imported ([`ImportedClip`], *optional*): What comes with the clip.
        model ([`ModelFiles`], *optional*): The model that guesses.
        frames (`Callable`): Decodes the frames of the window, if they are needed.

    Returns:
        `dict`: `depth` as JSON, `metres` in one unit of the poses, and `fault` where there could have been depth. What
        takes none can be asked all the same.

    Raises:
        ClipError: `damaged`, if a file of the layout is.
    """
    value: dict[str, Any] = {"depth": None, "metres": None}
    if record.camera is None:
        return value
    if imported is not None:
        maps = imported.depths(record.window.timestamps)
        depth = stack_depth(maps, imported.kind == "metric", imported.unit_error, imported.made_by)
        if depth is not None:
            return {**value, "depth": depth_to_json(depth)}
    if model is None:
        return value
    from ..geometry.depth_model import predict_depth
    from ..geometry.depth_scale import fit_depth

    try:
        guessed = predict_depth(frames(), model)
        fit = fit_depth(frames(), record.camera, guessed, record.objects or ())
    except ClipError as error:
        return {**value, "fault": error}
    return {"depth": depth_to_json(fit.depth), "metres": fit.metres, "spread": fit.spread}
