"""What SAM 3 asks of its kernels, done here, and that transformers still asks in the same way."""

import pytest
import torch

pytest.importorskip("cv2", reason="masks need the data extra")
from fourdthinker.dataset_builders.mask_models.local_kernels import LocalKernels, use_local_kernels  # noqa: E402


def test_of_overlapping_detections_the_best_is_kept():
    ious = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, 0.05], [0.0, 0.05, 1.0]])
    kept = LocalKernels.generic_nms(ious, torch.tensor([0.5, 0.9, 0.7]), 0.1, use_iou_matrix=True)
    assert kept.tolist() == [1, 2]


def test_areas_of_connected_parts():
    mask = torch.zeros(1, 1, 6, 6, dtype=torch.uint8)
    mask[0, 0, :2, :2] = 1
    mask[0, 0, 2, 2] = 1  # touches by its corner
    mask[0, 0, 5, 5] = 1
    labels, areas = LocalKernels.cc_2d(mask, get_counts=True)
    assert labels.shape == areas.shape == mask.shape
    assert areas[0, 0, 0, 0] == areas[0, 0, 2, 2] == 5 and areas[0, 0, 5, 5] == 1 and areas[0, 0, 4, 0] == 0


def test_transformers_uses_them():
    from transformers.models.sam3_video import modeling_sam3_video as sam3

    use_local_kernels()
    masks = torch.full((3, 8, 8), -1.0)
    masks[:2, :4] = 1.0
    masks[2, 6:] = 1.0
    assert sam3.nms_masks(torch.tensor([0.9, 0.8, 0.7]), masks, 0.5, 0.1).tolist() == [True, False, True]
    speck = torch.full((1, 1, 8, 8), -1.0)
    speck[0, 0, :4], speck[0, 0, 7, 7], speck[0, 0, 1, 1] = 1.0, 1.0, -1.0
    filled = sam3.fill_holes_in_mask_scores(speck, max_area=2) > 0
    assert filled[0, 0, :4].all() and not filled[0, 0, 4:].any()
