"""Which surviving box each suppressed box belongs to."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.boxes import pairwise_iou
from omma.ops.nms import nms


def nms_match(boxes: Tensor, scores: Tensor, *, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """Suppression that tells who suppressed whom.

    Args:
        boxes: (N, 4) xyxy, finite, in any unit.
        scores: (N,).
        iou_threshold: in 0..1.

    Returns:
        Indices (K,) int64 of the surviving boxes, by falling score; and of each box (N,) the position in
        those of the best surviving box that overlaps it by more than the threshold, of a surviving one its
        own. The members of cluster k are ``(owner == k).nonzero()``.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors("nms_match", ("boxes", boxes, ("N", 4), "any"), ("scores", scores, ("N",), "float"))
    kept = nms(boxes, scores, iou_threshold=iou_threshold)
    # A surviving box overlaps no better one, so its own column is its first; but it may have no area.
    overlaps = pairwise_iou(boxes, boxes[kept]) > iou_threshold
    own = torch.arange(boxes.shape[0], device=boxes.device)[:, None] == kept
    return kept, (overlaps | own).to(torch.uint8).argmax(1) if boxes.shape[0] else kept
