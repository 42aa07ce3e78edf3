"""Greedy non-maximum suppression."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.boxes import pairwise_iou
from omma.ops.precision import at_least_float32

_APART_FROM = 1000
"""Boxes on the CPU from which on each group is suppressed by itself: all pairs cost the square."""


def nms(boxes: Tensor, scores: Tensor, *, iou_threshold: float) -> Tensor:
    """Indices of the boxes that survive suppression, by falling score.

    A box is dropped if a surviving one with a higher score overlaps it by more than the threshold. Of equal
    scores the first comes first.

    Args:
        boxes: (N, 4) xyxy, finite, in any unit.
        scores: (N,).
        iou_threshold: in 0..1.

    Returns:
        (K,) int64.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors("nms", ("boxes", boxes, ("N", 4), "any"), ("scores", scores, ("N",), "float"))
    exact = at_least_float32(boxes)
    return _NMS.kernel(boxes)(exact, scores.to(exact.dtype), iou_threshold)


def batched_nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    *,
    iou_threshold: float,
    max_keep: int | None = None,
    levels: Tensor | None = None,
    max_per_level: int | None = None,
) -> Tensor:
    """``nms`` within each group: boxes of different groups never suppress each other, wherever they lie.

    Args:
        boxes: (N, 4) xyxy, finite, in any unit.
        scores: (N,).
        groups: (N,) integers from 0: classes, levels or images.
        iou_threshold: in 0..1.
        max_keep: at most so many survivors, the best ones.
        levels: (N,) integers from 0, for ``max_per_level``.
        max_per_level: only so many boxes of each level, the best ones, take part.

    Returns:
        (K,) int64, by falling score.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above, or of the last two only one is given.
    """
    check_tensors(
        "batched_nms",
        ("boxes", boxes, ("N", 4), "any"),
        ("scores", scores, ("N",), "float"),
        ("groups", groups, ("N",), "int"),
    )
    if (levels is None) != (max_per_level is None):
        raise ValueError("batched_nms: levels and max_per_level come together, got only one")
    chosen = None
    if levels is not None and max_per_level is not None:
        check_tensors("batched_nms", ("scores", scores, ("N",), "float"), ("levels", levels, ("N",), "int"))
        chosen = _best_of_each(levels, scores, max_per_level)
    if boxes.shape[0] == 0:
        return groups.new_zeros(0, dtype=torch.int64)
    kept = _suppress(boxes, scores, groups, chosen, iou_threshold)
    return kept if max_keep is None else kept[:max_keep]


def _best_of_each(levels: Tensor, scores: Tensor, count: int) -> Tensor:
    """Indices, rising, of the ``count`` best scored of each level."""
    order = scores.argsort(descending=True, stable=True)
    order = order[levels[order].argsort(stable=True)]
    sorted_levels = levels[order]
    first = torch.searchsorted(sorted_levels, sorted_levels)
    rank = torch.arange(len(order), device=order.device) - first
    return order[rank < count].sort().values


def _suppress(
    boxes: Tensor, scores: Tensor, groups: Tensor, chosen: Tensor | None, threshold: float
) -> Tensor:
    """Survivors among the ``chosen`` indices, or among all."""
    # Tracing can't follow a loop over as many groups as there happen to be.
    if not torch.compiler.is_compiling() and boxes.device.type == "cpu" and len(boxes) > _APART_FROM:
        if chosen is None:
            return _suppress_apart(boxes, scores, groups, threshold)
        return chosen[_suppress_apart(boxes[chosen], scores[chosen], groups[chosen], threshold)]
    # Each group is moved to a place of its own. With a thousand classes those places lie so far out that
    # float32 would round boxes to eighths of a pixel, so double it is.
    exact, order = boxes.double(), scores.double()
    low, high = exact.aminmax()
    moved = exact + (groups * (high - low + 1))[:, None]
    if chosen is None:
        return nms(moved, order, iou_threshold=threshold)
    return chosen[nms(moved[chosen], order[chosen], iou_threshold=threshold)]


def _suppress_apart(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    by_group = groups.argsort(stable=True)
    sizes = torch.unique_consecutive(groups[by_group], return_counts=True)[1].tolist()
    parts = zip(boxes[by_group].split(sizes), scores[by_group].split(sizes), by_group.split(sizes))
    kept = torch.cat([index[nms(b, s, iou_threshold=threshold)] for b, s, index in parts]).sort().values
    return kept[scores[kept].argsort(descending=True, stable=True)]


def _torchvision(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    return torchvision.ops.nms(boxes, scores, threshold)


def _reference(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    order = scores.argsort(descending=True, stable=True)
    return order[suppress(pairwise_iou(boxes[order], boxes[order]) > threshold)]


@torch.library.custom_op("omma::suppress", mutates_args=())
def suppress(overlaps: Tensor) -> Tensor:
    """Which of N boxes, best first, survive: (N,) bool. ``overlaps`` (N, N) bool tells which can't both."""
    overlaps = overlaps.triu(diagonal=1)
    # A box stays unless a staying one before it overlaps it. Each round settles at least one box more.
    stays = torch.ones_like(overlaps[0]) if len(overlaps) else overlaps.new_zeros(0)
    while True:
        now = ~(overlaps & stays[:, None]).any(0)
        if torch.equal(now, stays):
            return now
        stays = now


@suppress.register_fake
def _(overlaps: Tensor) -> Tensor:
    return overlaps.new_empty(overlaps.shape[:1])


_NMS = Operator("nms", torchvision=_torchvision, reference=_reference)
