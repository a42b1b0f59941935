"""The objects of a window by a mask model (`--objects sam3`, `sam2`, `edgetam`, `sam3_tracker`)."""

from collections.abc import Sequence
from importlib.metadata import version

from ...modeling.clip import Clip
from ..clip_error import ClipError
from ..clip_record import ObjectTrack
from ..geometry.masks import decode_mask, overlap
from ..geometry.object_flow import measure_motion, static_size_noise
from .checkpoints import KINDS, Checkpoint
from .masklets import Masklet, keep_steady, merge_duplicates, to_tracks
from .sessions import follow_seeds, load_mask_model, segment_by_names

_LEAST_AGREEMENT = 0.3  # of intersection over union with what flow saw moving; below, the model follows another thing
_LEAST_SHARE = 0.5  # of the frames in which flow is sure


def find_named_objects(
    checkpoint: Checkpoint, dense: Clip, numbers: Sequence[int], names: Sequence[str]
) -> list[ObjectTrack]:
    """Find objects by name.

    Args:
        checkpoint ([`Checkpoint`]): Of a kind that finds names.
        dense ([`Clip`]): Frames of the window, 12 a second or more.
        numbers (`Sequence[int]`): Which of them are the window's own.
        names (`Sequence[str]`): What to look for.

    Raises:
        ClipError: `unclear`, if there is no name for this video.
    """
    if not names:
        raise ClipError("unclear", "no name to look for", "add the video, or `*` for all others, to the --names file")
    found = merge_duplicates(segment_by_names(load_mask_model(checkpoint), dense.frames, names))
    for masklet in found:
        keep_steady(masklet)
    return to_tracks(_shown(found), numbers, _made_by(checkpoint), _static_noise(dense, numbers))


def refine_objects(
    checkpoint: Checkpoint, dense: Clip, numbers: Sequence[int], tracks: Sequence[ObjectTrack]
) -> list[ObjectTrack]:
    """Replace the masks of objects that flow has found by those of a model that is seeded with them.

    Where the model's mask has little in common with what flow saw moving, it is not sure; where that is so in most
    frames, the model has followed something else, and flow's masks stay, as do those that no question could name.

    Args:
        checkpoint ([`Checkpoint`]): Of a kind that is seeded.
        dense ([`Clip`]): Frames of the window, 12 a second or more.
        numbers (`Sequence[int]`): Which of them are the window's own.
        tracks (`Sequence[ObjectTrack]`): Of the window, by [`find_objects`].
    """
    seen = [track for track in tracks if track.sure.any()]
    if not seen:
        return list(tracks)
    flows = [
        Masklet(track.name, {numbers[n]: mask for n, mask in enumerate(track.masks) if mask and track.sure[n]})
        for track in seen
    ]
    seeds = [{frame: decode_mask(mask) for frame, mask in flow.masks.items()} for flow in flows]
    found = follow_seeds(load_mask_model(checkpoint), dense.frames, seeds, [flow.name for flow in flows])
    made_by = _made_by(checkpoint)
    refined = [choose_masks(*pair, numbers, made_by) for pair in zip(seen, flows, found, strict=True)]
    return refined + [track for track in tracks if not track.sure.any()]


def choose_masks(
    track: ObjectTrack, flow: Masklet, found: Masklet, numbers: Sequence[int], made_by: dict[str, str]
) -> ObjectTrack:
    """A model's masks of an object in place of flow's, or flow's own where the model has followed something else.

    Args:
        track ([`ObjectTrack`]): By flow.
        flow ([`Masklet`]): Its sure masks, by dense frame.
        found ([`Masklet`]): What the model made of them.
        numbers (`Sequence[int]`): Which of the dense frames are the window's.
        made_by (`dict[str, str]`): The model.
    """
    keep_steady(found)
    agreed = 0
    for frame, mask in flow.masks.items():
        both, either = overlap(found.masks[frame], mask) if frame in found.masks else (0, 1)
        if both >= _LEAST_AGREEMENT * either:
            agreed += frame in found.sure
        else:
            found.sure.discard(frame)
    if agreed < _LEAST_SHARE * len(flow.masks):
        return track
    (refined,) = to_tracks([found], numbers, {**track.made_by, **made_by}, track.errors)
    return refined


def _shown(found: Sequence[Masklet]) -> list[Masklet]:
    return [masklet for masklet in found if masklet.masks]


def _made_by(checkpoint: Checkpoint) -> dict[str, str]:
    return {
        KINDS[checkpoint.kind].model: checkpoint.made_by,
        "transformers": version("transformers"),
    }


def _static_noise(dense: Clip, numbers: Sequence[int]) -> dict[str, float]:
    """How much the size of what stands still seems to change, where flow can tell."""
    window = Clip([dense.frames[n] for n in numbers], [dense.timestamps[n] for n in numbers])
    try:
        noise = static_size_noise(measure_motion(window))
    except ClipError:
        return {}
    return {"static_size": noise} if noise == noise else {}
