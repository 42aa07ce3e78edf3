"""Greedy non-maximum suppression."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor


def batched_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, *, iou_threshold: float, max_keep: int | None = None
) -> Tensor:
    """Indices of the boxes that survive suppression within their group, by falling score.

    A box is dropped if one of the same group with a higher score overlaps it by more than the threshold.
    Runs in float32 whatever the input's type.

    Args:
        boxes: (N, 4) xyxy, pixels.
        scores: (N,).
        groups: (N,) integers; boxes of different groups (classes, levels) never suppress each other.
        iou_threshold: in 0..1.
        max_keep: at most so many survivors, the best ones.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"batched_nms: boxes must have shape (N, 4), got {tuple(boxes.shape)}")
    for name, values in (("scores", scores), ("groups", groups)):
        if values.shape != boxes.shape[:1]:
            expected = f"({len(boxes)},)"
            raise ValueError(f"batched_nms: {name} must have shape {expected}, got {tuple(values.shape)}")
    keep = torchvision.ops.batched_nms(boxes.float(), scores.float(), groups, iou_threshold)
    return keep if max_keep is None else keep[:max_keep]


def top_scores(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of (N,) scores and their positions, sorted by falling score."""
    return torch.topk(scores, min(count, scores.numel()))
