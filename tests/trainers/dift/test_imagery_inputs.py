"""The imagery of rows of which some have none."""

import pytest

from fourdthinker.trainers.dift.imagery_inputs import encode_row_imagery


@pytest.mark.parametrize("masks", [False, True])
def test_a_row_without_imagery_needs_no_masks(tiny_processor, make_dift_row, masks):
    imagined, bare = make_dift_row(0), make_dift_row(1, imagery=0, imagery_masks=None)
    together = encode_row_imagery(tiny_processor, [bare, imagined], masks)
    alone = encode_row_imagery(tiny_processor, [imagined], masks)
    assert together.keys() == alone.keys() and all((together[name] == alone[name]).all() for name in alone)
    assert not encode_row_imagery(tiny_processor, [bare], masks)
