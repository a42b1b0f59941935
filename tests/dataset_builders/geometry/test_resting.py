"""Regions at rest: they go with the scene, are followed while in view, and hold nothing that moves by itself."""

import numpy as np
import pytest
from PIL import Image

for needed in ("cv2", "pycocotools"):
    pytest.importorskip(needed, reason="resting regions need the data extra")
from fourdthinker.dataset_builders.clip_record import CameraPoses, ObjectTrack  # noqa: E402
from fourdthinker.dataset_builders.geometry.masks import decode_mask, encode_mask  # noqa: E402
from fourdthinker.dataset_builders.geometry.resting import find_resting_regions  # noqa: E402
from fourdthinker.modeling.clip import Clip  # noqa: E402

from ...made_clips import textured  # noqa: E402

SIZE, STEP, COUNT, SIDE = (320, 240), 6, 12, 90


def film_from_the_side(rise: int) -> tuple[Clip, CameraPoses, list[np.ndarray]]:
    """A camera that goes to the right along a wall, before which a square goes up by `rise` pixels a frame."""
    wall, thing = textured((SIZE[0] + STEP * COUNT, SIZE[1]), 5), textured((SIDE, SIDE), 6)
    frames, masks = [], []
    for number in range(COUNT):
        picture = wall[:, STEP * number : STEP * number + SIZE[0]].copy()
        top, mask = 140 - rise * number, np.zeros(SIZE[::-1], bool)
        mask[top : top + SIDE, 120 : 120 + SIDE] = True
        picture[mask] = thing.reshape(-1, 3)
        frames.append(Image.fromarray(picture))
        masks.append(mask)
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 0, 3] = 0.1 * np.arange(COUNT)
    intrinsics = np.array([[300.0, 0, 160], [0, 300.0, 120], [0, 0, 1]])
    clip = Clip(frames, (0.1 * np.arange(COUNT)).tolist())
    return clip, CameraPoses("up_to_scale", poses, intrinsics, 4.0), masks


@pytest.mark.medium
@pytest.mark.parametrize("told", [True, False], ids=["mover known", "mover not known"])
def test_regions_go_with_the_scene_and_leave_out_what_moves(told):
    clip, camera, masks = film_from_the_side(rise=8)
    mover = ObjectTrack("square", tuple(encode_mask(mask) for mask in masks), np.ones(COUNT, bool))
    regions = find_resting_regions(clip, camera, [mover] if told else [])
    assert len(regions) >= 3
    for region in regions:
        seen = np.flatnonzero(region.sure)
        first, last = (decode_mask(region.masks[index]) for index in (seen[0], seen[-1]))
        assert min(first.mean(), last.mean()) >= 0.001 and len(seen) >= 3
        for index in seen:
            inside = (decode_mask(region.masks[index]) & masks[index]).sum()
            assert inside <= 0.25 * decode_mask(region.masks[index]).sum(), "beside the mover, not on it"
        rows, columns = (np.array([np.nonzero(mask)[axis].mean() for mask in (first, last)]) for axis in (0, 1))
        assert abs(columns[1] - columns[0] + STEP * (seen[-1] - seen[0])) < 2 and abs(rows[1] - rows[0]) < 2


def test_regions_of_one_frame_do_not_overlap():
    clip, camera, _ = film_from_the_side(rise=0)
    regions = find_resting_regions(clip, camera)
    for index in range(COUNT):
        shown = [decode_mask(region.masks[index]) for region in regions if region.masks[index] is not None]
        assert sum(mask.astype(int) for mask in shown).max() <= 1
