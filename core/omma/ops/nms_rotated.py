"""Greedy non-maximum suppression of rotated boxes."""

from __future__ import annotations

from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.nms import suppress
from omma.ops.rotated_boxes import box_iou_rotated


def nms_rotated(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor | None = None,
    *,
    iou_threshold: float,
    max_keep: int | None = None,
) -> Tensor:
    """Indices of the rotated boxes that survive suppression, by falling score; see ``batched_nms``.

    All pairs are compared by the kernel of ``box_iou_rotated`` that is chosen.

    Args:
        boxes: (N, 5) x, y, w, h, angle in radians; see ``omma.ops.rotated_boxes``.
        scores: (N,).
        groups: (N,) integers; only boxes of the same group (class) suppress each other. None: all do.
        iou_threshold: in 0..1.
        max_keep: at most so many survivors, the best ones.

    Returns:
        (K,) int64.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors("nms_rotated", ("boxes", boxes, ("N", 5), "float"), ("scores", scores, ("N",), "float"))
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes.detach()[order]
    overlaps = box_iou_rotated(ranked, ranked) > iou_threshold
    if groups is not None:
        check_tensors("nms_rotated", ("boxes", boxes, ("N", 5), "float"), ("groups", groups, ("N",), "int"))
        label = groups[order]
        overlaps = overlaps & (label[:, None] == label)
    return order[suppress(overlaps)][:max_keep]
