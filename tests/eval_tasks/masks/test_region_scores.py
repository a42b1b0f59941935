"""J and F of masks computed by hand, and against SciPy's morphology."""

import numpy as np
import pytest

from fourdthinker.eval_tasks.masks.region_scores import (
    boundary,
    boundary_agreement,
    dilate,
    erode,
    region_overlap,
    resize_nearest,
    score_masks,
)

EXACTLY = 1e-12


def square(top, left, side, shape=(20, 20)):
    mask = np.zeros(shape)
    mask[top : top + side, left : left + side] = 1
    return mask


EMPTY = np.zeros((20, 20))


@pytest.mark.parametrize(
    ("predicted", "truth", "j", "f"),
    [
        (square(4, 4, 4), square(4, 4, 4), 1, 1),
        # One column further: 12 of 20 pixels in common. A square of 4 is all boundary, everything within two pixels.
        (square(4, 5, 4), square(4, 4, 4), 12 / 20, 1),
        # Three columns further: one column of each is more than two pixels from the other.
        (square(4, 7, 4), square(4, 4, 4), 4 / 28, 3 / 4),
        (square(0, 0, 4), square(12, 12, 4), 0, 0),
        # A frame of 9 with an edge of 2 (56 pixels) around a square of 5, whose boundary leaves its centre (24):
        # each pixel of the inner one lies within two steps of the outer one; of the outermost 32, three at each corner
        # take more than two steps to the inner one.
        (square(6, 6, 5), square(4, 4, 9), 25 / 81, 2 * 1 * (44 / 56) / (1 + 44 / 56)),
        (EMPTY, EMPTY, 1, 1),
        (EMPTY, square(4, 4, 4), 0, 0),
        (square(4, 4, 4), EMPTY, 0, 0),
        # A mask over the whole image has its boundary at the image's edge.
        (np.ones((20, 20)), np.ones((20, 20)), 1, 1),
    ],
)
def test_by_hand(predicted, truth, j, f):
    scores = score_masks([predicted], [truth])
    assert abs(scores.j - j) < EXACTLY and abs(scores.f - f) < EXACTLY
    assert abs(scores.j_and_f - (j + f) / 2) < EXACTLY


def test_the_edge_of_the_image_is_a_boundary():
    assert int(boundary(np.ones((20, 20), bool)).sum()) == 400 - 16 * 16


def test_cuts_at_more_than_half_for_predictions_and_more_than_nothing_for_truth():
    half, little = square(4, 4, 4) * 0.5, square(4, 4, 4) * 0.004
    assert score_masks([half], [EMPTY]).j == 1
    assert score_masks([half + 1e-9 * square(4, 4, 4)], [little]).j == 1


def test_frames_beyond_the_shorter_list_are_left_out():
    good, bad = square(4, 4, 4), square(12, 12, 4)
    assert score_masks([good], [good, bad, bad]).j == 1
    assert score_masks([good, bad, bad], [good, good]).j == 0.5
    assert score_masks([], [good]).j_and_f == 0


def test_a_prediction_of_another_size_is_resized_by_nearest_neighbour():
    small = np.array([[1, 0], [0, 1]])
    assert resize_nearest(small, (4, 4)).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert resize_nearest(np.arange(6)[None], (1, 4)).tolist() == [[0, 1, 3, 4]]
    assert score_masks([square(2, 2, 2, (10, 10))], [square(4, 4, 4)]).j_and_f == 1


def test_as_scipy_computes_it():
    ndimage = pytest.importorskip("scipy.ndimage")
    random = np.random.default_rng(0)
    for _ in range(20):
        smooth = ndimage.gaussian_filter(random.normal(size=(2, 24, 31)), (0, 2, 2))
        ours, truth = smooth > 0
        assert (erode(ours, 2) == ndimage.binary_erosion(ours, iterations=2)).all()
        assert (dilate(ours, 2) == ndimage.binary_dilation(ours, iterations=2)).all()
        edges = [mask ^ ndimage.binary_erosion(mask, iterations=2) for mask in (ours, truth)]
        near = [ndimage.binary_dilation(edge, iterations=2) for edge in edges]
        precision, recall = (edges[0] & near[1]).sum() / edges[0].sum(), (edges[1] & near[0]).sum() / edges[1].sum()
        assert abs(boundary_agreement(ours, truth) - 2 * precision * recall / (precision + recall)) < EXACTLY
        assert abs(region_overlap(ours, truth) - (ours & truth).sum() / (ours | truth).sum()) < EXACTLY
