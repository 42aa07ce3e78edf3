"""Greedy non-maximum suppression."""

from __future__ import annotations

import torchvision
from torch import Tensor


def batched_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, *, iou_threshold: float, max_keep: int | None = None
) -> Tensor:
    """Indices of the boxes that survive suppression within their group, by falling score.

    A box is dropped if a surviving one of its group, with a higher score, overlaps it by more than the
    threshold. Of equal scores the first comes first. Boxes of different groups (classes, levels, images)
    never suppress each other, wherever they lie.

    Args:
        boxes: (N, 4) xyxy, finite, in any unit.
        scores: (N,).
        groups: (N,) integers from 0.
        iou_threshold: in 0..1.
        max_keep: at most so many survivors, the best ones.

    Returns:
        (K,) int64.

    Raises:
        ValueError: the shapes aren't as above.
    """
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"batched_nms: boxes must have shape (N, 4), got {tuple(boxes.shape)}")
    for name, values in (("scores", scores), ("groups", groups)):
        if values.shape != boxes.shape[:1]:
            expected = f"({len(boxes)},)"
            raise ValueError(f"batched_nms: {name} must have shape {expected}, got {tuple(values.shape)}")
    if len(boxes) == 0:
        return groups.new_zeros(0).long()
    # Each group is moved to a place of its own. With a thousand classes those places lie so far out that
    # float32 would round boxes to eighths of a pixel, so double it is.
    exact = boxes.double()
    low, high = exact.aminmax()
    moved = exact + (groups * (high - low + 1))[:, None]
    keep = torchvision.ops.nms(moved, scores.double(), iou_threshold)
    return keep if max_keep is None else keep[:max_keep]
