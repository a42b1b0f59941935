"""Imagery frames: red inside by the formula, an outline, nothing outside."""

import numpy as np
import pytest

from fourdthinker.dataset_builders.imagery import paint_object

RED = np.array([255, 0, 0])


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)


@pytest.fixture
def mask():
    mask = np.zeros((12, 16), bool)
    mask[3:9, 5:12] = True
    return mask


def outline(mask):
    """Pixels on either side of the border, neighbours along rows and columns, one by one."""
    border = np.zeros_like(mask)
    for row, column in np.ndindex(mask.shape):
        for step_row, step_column in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            r, c = row + step_row, column + step_column
            if 0 <= r < mask.shape[0] and 0 <= c < mask.shape[1] and mask[r, c] != mask[row, column]:
                border[row, column] = True
    return border


def test_inside_is_six_parts_frame_and_four_parts_red(frame, mask):
    painted = np.asarray(paint_object(frame, mask))
    inside = mask & ~outline(mask)
    expected = np.rint(0.6 * frame[inside].astype(float) + 0.4 * RED)
    assert inside.sum() == 20
    np.testing.assert_allclose(painted[inside], expected, atol=1)


def test_the_outline_is_pure_red_and_two_pixels_wide(frame, mask):
    painted = np.asarray(paint_object(frame, mask))
    border = outline(mask)
    assert (painted[border] == RED).all()
    assert border[:, 4].any() and border[:, 5].any() and not border[:, 3].any() and not border[5, 6]


def test_outside_nothing_is_touched(frame, mask):
    outside = ~mask & ~outline(mask)
    assert (np.asarray(paint_object(frame, mask))[outside] == frame[outside]).all()


def test_any_outline_follows_its_mask(frame):
    mask = np.random.default_rng(1).random((12, 16)) < 0.5
    painted = np.asarray(paint_object(frame, mask))
    assert (painted[outline(mask)] == RED).all()
    assert (painted[~mask & ~outline(mask)] == frame[~mask & ~outline(mask)]).all()


def test_an_object_at_the_image_edge_has_no_outline_there(frame):
    mask = np.zeros((12, 16), bool)
    mask[:4, :4] = True
    painted = np.asarray(paint_object(frame, mask))
    assert not (painted[0, 0] == RED).all() and (painted[3, 0] == RED).all()
    assert (painted[11, 15] == frame[11, 15]).all()


def test_the_frame_given_stays_as_it_was(frame, mask):
    before = frame.copy()
    image = paint_object(frame, mask)
    assert (frame == before).all()
    assert image.size == (16, 12) and image.mode == "RGB"


def test_no_object_leaves_the_frame(frame):
    assert (np.asarray(paint_object(frame, np.zeros((12, 16), bool))) == frame).all()
