"""Labels from masks as bad as a model's: the rendered world's exact masks, degraded, through the pipeline's steps."""

from collections import Counter

import numpy as np
import pytest

for needed in ("cv2", "pycocotools", "pybullet"):
    pytest.importorskip(needed, reason="the rendered world and masks need the extras data and world")
from fourdthinker.dataset_builders.clip_record import CameraPoses  # noqa: E402
from fourdthinker.dataset_builders.geometry.camera_motion import camera_labels  # noqa: E402
from fourdthinker.dataset_builders.geometry.object_facts import object_facts  # noqa: E402
from fourdthinker.dataset_builders.mask_models.masklets import (  # noqa: E402
    Masklet,
    encode_masks,
    keep_steady,
    merge_duplicates,
    to_tracks,
)
from fourdthinker.dataset_builders.world import World  # noqa: E402

from ..geometry.test_object_facts import FRAMES, SECONDS, true_label  # noqa: E402
from ..near_scenes import sample_near_scene  # noqa: E402
from .degraded_masks import degrade  # noqa: E402

SIDE, DENSE = 144, 2  # pixels; dense frames for each of the window's
MIN_SHARE = 0.004  # of the picture, of an object that is asked about


def facts_from_bad_masks(world, seed, wanted):
    """Facts about every object of a clip, each with what is needed to judge it, and the masks' quality."""
    clip = world.render(sample_near_scene(np.random.default_rng(seed), world.frames, 8))
    rng = np.random.default_rng([seed, round(100 * wanted)])
    poses = clip.camera_to_world[::DENSE]
    labels = camera_labels(poses)
    turns = bool(labels) and labels[0].split()[0] in ("Pan", "Tilt", "Roll")
    kind = "turn_only" if turns else "metric" if labels else "still"
    camera = CameraPoses(kind, poses.copy(), clip.intrinsics)
    if turns:
        camera.camera_to_world[:, :3, 3] = 0
    for number in range(len(clip.names)):
        exact = clip.masks == number
        if np.median(exact.mean(axis=(1, 2))) < MIN_SHARE:
            continue
        bad, quality = degrade(exact, (clip.masks >= 0) & ~exact, wanted, rng)
        masklet = Masklet("thing", {f: mask for f, mask in enumerate(encode_masks(bad)) if mask is not None})
        (masklet,) = merge_duplicates([masklet])
        keep_steady(masklet)
        (track,) = to_tracks([masklet], range(0, DENSE * FRAMES, DENSE), {"model": "noise"}, {})
        depths = None
        if kind == "metric":
            seen = np.where(bad & np.isfinite(clip.depth), clip.depth, np.nan)[::DENSE]
            depths = [np.nan if np.isnan(frame).all() else np.nanmedian(frame) for frame in seen]
        for fact in object_facts(track, camera, SECONDS, (SIDE, SIDE), depths):
            path = clip.centres[::DENSE, number]
            yield fact, quality, (path, poses, clip.intrinsics[0, 0] / SIDE, "even")


def measure(seeds, wanted):
    """Labels right and given, by kind; the masks' mean quality; objects that gave a label."""
    right, given, qualities = Counter(), Counter(), []
    with World(SIDE, DENSE * FRAMES, 16.0) as world:
        for seed in seeds:
            for fact, quality, truth in facts_from_bad_masks(world, seed, wanted):
                qualities.append(quality)
                if fact.label is not None:
                    given[fact.kind] += 1
                    right[fact.kind] += fact.label == true_label(fact, *truth)
    return right, given, float(np.mean(qualities))


@pytest.mark.medium
@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 120), marks=pytest.mark.slow)], ids=["8", "112"])
def test_nine_labels_of_ten_are_right_at_an_overlap_of_seven_tenths(seeds, record_property):
    right, given, quality = measure(seeds, 0.7)
    record_property(
        "labels", f"{right.total()} of {given.total()} right at {quality:.2f}: {dict(right)} of {dict(given)}"
    )
    assert 0.66 < quality < 0.74
    assert given.total() >= 2 * len(seeds)
    assert right.total() >= 0.9 * given.total(), (right, given)
