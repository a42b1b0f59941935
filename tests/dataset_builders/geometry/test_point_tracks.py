"""Points followed over a picture that is moved by a known amount."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2", reason="point tracks need the data extra")
from fourdthinker.dataset_builders.geometry.point_tracks import TRACK_SIDE, track_points  # noqa: E402

STEP = np.array([12, -4])  # pixels a frame that the scene moves in the picture


@pytest.fixture(scope="module")
def moved_frames():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (60, 90, 3), dtype=np.uint8)).resize((900, 600), Image.BICUBIC)
    corners = [(300 - index * STEP).tolist() for index in range(6)]
    return [noise.crop((x, y, x + 320, y + 240)) for x, y in corners]


def test_points_move_as_the_picture_does(moved_frames):
    tracks = track_points(moved_frames)
    assert tracks.size == (320, 240) and tracks.scale == 1
    for first, last in ((0, 1), (2, 3), (0, 5)):
        before, after = tracks.pair(first, last)
        assert len(before) > 50
        assert np.median(after - before, axis=0) == pytest.approx((last - first) * STEP, abs=0.02)
        assert np.abs(after - before - (last - first) * STEP).max() < 1
    # What leaves the picture is lost, and what comes in is taken up.
    assert len(tracks.pair(0, 5)[0]) < len(tracks.pair(4, 5)[0])


def test_pictures_are_shrunk_and_the_factor_is_known(moved_frames):
    large = [frame.resize((1280, 960), Image.BICUBIC) for frame in moved_frames[:2]]
    tracks = track_points(large)
    assert tracks.size == (TRACK_SIDE, 480) and tracks.scale == 0.5
    before, after = tracks.pair(0, 1)
    assert np.median(after - before, axis=0) == pytest.approx(2 * STEP, abs=0.1)


def test_no_point_on_a_masked_object(moved_frames):
    masks = [np.zeros((240, 320), bool) for _ in moved_frames]
    for mask in masks[:-1]:
        mask[:, :160] = True
    tracks = track_points(moved_frames, [*masks[:-1], None])
    assert np.nanmin(tracks.positions[:-1, :, 0]) >= 160
    assert np.nanmin(tracks.positions[-1, :, 0]) < 160


def test_nothing_to_follow_on_an_even_picture():
    grey = [Image.new("RGB", (320, 240), (90, 90, 90))] * 3
    assert track_points(grey).positions.shape == (3, 0, 2)
