"""Imported poses against the pixels: the right reading passes, every wrong one is refused and the right one named."""

from dataclasses import replace

import numpy as np
import pytest

for needed in ("cv2", "scipy"):
    pytest.importorskip(needed, reason="layouts need the data extra")
from pathlib import Path  # noqa: E402

from PIL import Image  # noqa: E402

from fourdthinker.dataset_builders.clip_error import ClipError  # noqa: E402
from fourdthinker.dataset_builders.geometry.sift_matches import match_frames  # noqa: E402
from fourdthinker.dataset_builders.layouts.depth_check import check_depths  # noqa: E402
from fourdthinker.dataset_builders.layouts.imported_clip import Lens  # noqa: E402
from fourdthinker.dataset_builders.layouts.pose_check import check_poses  # noqa: E402
from fourdthinker.dataset_builders.layouts.trajectory import make_trajectory  # noqa: E402

from .written_layouts import FOCAL, RATE, SIZE  # noqa: E402

LENS = Lens((FOCAL / SIZE[0], FOCAL / SIZE[1]))
SECONDS = np.arange(21) / RATE
OPENGL = np.diag([1.0, -1, -1, 1])


@pytest.fixture(scope="module")
def matches(scene):
    """Of eight frames of a window in which the camera moves, turns and moves."""
    masks = [scene.numbers(index) == 1 for index in range(21)]
    return match_frames(scene.frames[:21], list(range(0, 21, 3)) + [20], masks)


@pytest.fixture
def trajectory(scene):
    """The poses as a file of quaternions has them."""
    seconds = np.arange(len(scene.poses)) / RATE
    return make_trajectory(Path("clip.tum"), seconds, scene.poses, quaternion="last")


@pytest.mark.slow
def test_right_poses_pass_with_the_depth_of_the_scene(matches, trajectory):
    check = check_poses(matches, SECONDS, trajectory, LENS, 1 / RATE)
    assert check.pixels < 1.5 and check.behind < 0.1 and check.pairs > 8
    assert 4 < check.depth < 9


@pytest.mark.medium
def test_the_focal_length_is_found_where_no_file_tells_it(matches, trajectory):
    check = check_poses(matches, SECONDS, trajectory, None, 1 / RATE)
    assert check.pixels < 2 and check.lens.focal[0] == pytest.approx(FOCAL / SIZE[0], rel=0.1)


@pytest.mark.medium
@pytest.mark.parametrize(
    ("misread", "named"),
    [
        (lambda t: t.inverted(), r"the matrices are inverted \(camera-to-world\)"),
        (lambda t: replace(t, quaternion="first").reordered(), "the quaternions have w first"),
        (lambda t: replace(t, mount=OPENGL), "the camera's axes are y up and z backward, as in OpenGL"),
        (lambda t: replace(t, seconds=t.seconds + 1 / RATE), "the poses come 1 frame too late"),
        (lambda t: replace(t, seconds=t.seconds - 3 / RATE), "the poses come 3 frames too early"),
    ],
    ids=["inverted", "w first", "OpenGL", "late", "early"],
)
def test_a_wrong_reading_is_refused_and_the_right_one_named(matches, trajectory, misread, named):
    with pytest.raises(
        ClipError, match=rf"miss the pixels by [\d.]+ px of 640 .*, and by [01]\.\d px if {named}"
    ) as e:
        check_poses(matches, SECONDS, misread(trajectory), LENS, 1 / RATE)
    assert e.value.code == "poses_disagree" and e.value.remedy.startswith("correct the file: ")


@pytest.mark.medium
def test_poses_of_another_clip_are_refused_without_advice(matches, trajectory):
    rng = np.random.default_rng(0)
    stored = trajectory.stored.copy()
    stored[:, :3, 3] += rng.normal(0, 1.0, (len(stored), 3))
    with pytest.raises(ClipError, match="no other reading is better"):
        check_poses(matches, SECONDS, replace(trajectory, stored=stored), LENS, 1 / RATE)


@pytest.mark.medium
def test_depth_must_be_that_of_the_points(matches, trajectory, scene):
    poses, maps = trajectory.at(SECONDS), {index: scene.depth(index) for index in range(0, 21, 3)}
    assert check_depths(matches, poses, LENS, maps) == pytest.approx(1, abs=0.1)
    assert check_depths(matches, poses, LENS, {}) is None
    with pytest.raises(
        ClipError, match=r"the depth is 0\.0\d+ times .*, and (1|0\.9\d|1\.\d) times if it is inverted"
    ):
        check_depths(matches, poses, LENS, {index: 1 / depth for index, depth in maps.items()})
    with pytest.raises(ClipError, match="the depth is 3 times .*: they are in different units"):
        check_depths(matches, poses, LENS, {index: 3 * depth for index, depth in maps.items()})


def test_what_has_no_texture_cannot_be_checked(trajectory):
    blank = match_frames([Image.new("RGB", SIZE, "grey")] * 21, [0, 6, 12, 18])
    with pytest.raises(ClipError, match="imported poses cannot be checked: 0 pairs") as raised:
        check_poses(blank, SECONDS, trajectory, LENS, 1 / RATE)
    assert raised.value.code == "no_texture"


@pytest.fixture(scope="module")
def standing(scene):
    """Matches of a clip that stands still, with the noise of a camera."""
    rng = np.random.default_rng(0)
    picture = np.asarray(scene.frames[0], dtype=float)
    frames = [
        Image.fromarray((picture + rng.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)) for _ in SECONDS
    ]
    return match_frames(frames, list(range(0, 21, 3)) + [20])


def walk(way, steps=21):
    """Poses that go evenly along a way."""
    poses = np.tile(np.eye(4), (steps, 1, 1))
    poses[:, :3, 3] = np.linspace(0, 1, steps)[:, None] * np.asarray(way, dtype=float)
    return make_trajectory(Path("clip.tum"), np.arange(steps) / RATE, poses, quaternion="last")


@pytest.mark.medium
@pytest.mark.parametrize("way", [(0, 0, 1.5), (1.5, 0, 0), (0.3, -0.1, 0.4)], ids=["ahead", "aside", "askew"])
@pytest.mark.parametrize("shows", [0.25, None], ids=["metres", "no unit"])
def test_a_path_beside_a_clip_that_stands_still_is_refused(standing, way, shows):
    with pytest.raises(ClipError, match="the clip stands still or only turns and the poses are of another one") as e:
        check_poses(standing, SECONDS, walk(way), LENS, 1 / RATE, shows)
    assert e.value.code == "poses_disagree"


@pytest.mark.medium
def test_poses_that_stand_still_with_the_clip_pass(standing):
    rng = np.random.default_rng(0)
    jitter = walk((0, 0, 0)).stored.copy()
    jitter[:, :3, 3] += rng.normal(0, 0.01, (len(jitter), 3))
    shaking = replace(walk((0, 0, 0)), stored=jitter)
    for shows in (0.25, None):
        assert check_poses(standing, SECONDS, walk((0, 0, 0)), LENS, 1 / RATE, shows).pixels < 1
        assert check_poses(standing, SECONDS, shaking, LENS, 1 / RATE, shows).pixels < 1
    resting = walk((0, 0, 4.0), 200)  # a pause within a long path
    paused = replace(resting, stored=np.concatenate([shaking.stored, resting.stored[21:]]))
    assert check_poses(standing, SECONDS, paused, LENS, 1 / RATE).pixels < 1
