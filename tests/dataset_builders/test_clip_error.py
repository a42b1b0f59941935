"""Codes by which clips without rows are counted."""

import pytest

from fourdthinker.dataset_builders.clip_error import CLIP_ERROR_CODES, ClipError


def test_codes_are_checked():
    assert set(CLIP_ERROR_CODES) >= {"empty", "not_video", "no_picture", "damaged", "too_large", "too_short"}
    with pytest.raises(ValueError, match="no such code"):
        ClipError("odd", "a", "b")
