"""Duplicate suppression and connected components for SAM 3 where its own kernels are not to be had.

transformers takes them from the package `kernels`, which fetches code from the Hub while the model runs, and skips
three steps without it: suppression of duplicates, filling of holes, removal of specks.
"""

from typing import Any

import cv2
import numpy as np


class LocalKernels:
    """What transformers calls of the Hub's `cv-utils`, on the CPU."""

    @staticmethod
    def generic_nms(ious: Any, scores: Any, iou_threshold: float, use_iou_matrix: bool = True) -> Any:
        """Numbers of the detections that no better one overlaps, the best first.

        Args:
            ious (`torch.Tensor` of shape `(n, n)`): Intersection over union.
            scores (`torch.Tensor` of shape `(n,)`): How good each is.
            iou_threshold (`float`): Above it two are one.
            use_iou_matrix (`bool`, *optional*, defaults to `True`): Of the original; `ious` is always taken so.
        """
        import torch

        overlaps = (ious > iou_threshold).cpu().numpy()
        kept: list[int] = []
        for number in torch.argsort(scores, descending=True).tolist():
            if not overlaps[number, kept].any():
                kept.append(number)
        return torch.tensor(kept, dtype=torch.long, device=scores.device)

    @staticmethod
    def cc_2d(masks: Any, get_counts: bool = True) -> tuple[Any, Any]:
        """Connected parts of masks, and for each pixel the area of its part.

        Args:
            masks (`torch.Tensor` of shape `(n, 1, h, w)`, uint8).
            get_counts (`bool`, *optional*, defaults to `True`): Of the original; areas are always given.

        Returns:
            `tuple[torch.Tensor, torch.Tensor]`: Labels and areas of the same shape, int32.
        """
        import torch

        labels, areas = [], []
        for mask in masks.flatten(0, 1).cpu().numpy():
            _, label, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(mask), connectivity=8)
            stats[0, cv2.CC_STAT_AREA] = 0  # what is in no part
            labels.append(label)
            areas.append(stats[:, cv2.CC_STAT_AREA][label])
        shaped = (torch.from_numpy(np.stack(part).astype(np.int32)).view(masks.shape) for part in (labels, areas))
        label, area = (part.to(masks.device) for part in shaped)
        return label, area


def use_local_kernels() -> None:
    """Let SAM 3 of transformers use [`LocalKernels`]."""
    from transformers.models.sam3_video import modeling_sam3_video

    modeling_sam3_video.cv_utils_kernel = LocalKernels
