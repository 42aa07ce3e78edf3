"""Soft suppression: overlapped boxes lose score instead of being dropped (Bodla et al., Soft-NMS, 2017)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.boxes import pairwise_iou
from omma.ops.precision import at_least_float32

_MATRIX_UP_TO = 4000
"""Boxes of which numpy holds all overlaps at once, at most 64 MB."""


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor | None = None,
    *,
    method: Literal["linear", "gaussian"] = "gaussian",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    max_keep: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Take the best box, lower the scores of those it overlaps, and so on.

    The linear method multiplies by 1 - IoU where the IoU reaches the threshold, the gaussian one by
    exp(-IoU^2 / sigma) everywhere. No gradient flows.

    Args:
        boxes: (N, 4) xyxy, finite, in any unit.
        scores: (N,), 0 or more.
        groups: (N,) integers; only boxes of the same group (class) touch each other. None: all do.
        method: how scores are lowered.
        iou_threshold: of the linear method.
        sigma: of the gaussian method, greater than 0.
        min_score: boxes that end below are left out.
        max_keep: at most so many, the best ones.

    Returns:
        Indices (K,) int64 by falling lowered score, and those scores (K,), float32 or better.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above, or the method is unknown.
    """
    if method not in ("linear", "gaussian"):
        raise ValueError(f"soft_nms: method must be linear or gaussian, got {method!r}")
    check_tensors("soft_nms", ("boxes", boxes, ("N", 4), "any"), ("scores", scores, ("N",), "float"))
    if groups is None:
        groups = torch.zeros(boxes.shape[:1], dtype=torch.int64, device=boxes.device)
    check_tensors("soft_nms", ("boxes", boxes, ("N", 4), "any"), ("groups", groups, ("N",), "int"))
    exact = at_least_float32(boxes.detach())
    start = scores.detach().to(exact.dtype)
    threshold, width = (iou_threshold, 0.0) if method == "linear" else (0.0, sigma)
    lowered = _SOFT_NMS.kernel(boxes)(exact, start, groups.long(), threshold, width, min_score)
    # Whatever is taken later has a lower score: sorting gives the order of taking.
    order = lowered.argsort(descending=True, stable=True)
    order = order[lowered[order] >= min_score][:max_keep]
    return order, lowered[order]


def _factors(iou: Tensor, threshold: float, sigma: float) -> Tensor:
    """What scores are multiplied by; sigma 0 stands for the linear method."""
    if sigma:
        return (-iou.square() / sigma).exp()
    return torch.where(iou >= threshold, 1 - iou, 1.0)


@torch.library.custom_op("omma::soft_nms_reference", mutates_args=())
def _reference(
    boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, sigma: float, stop: float
) -> Tensor:
    lowered, waiting = scores.clone(), torch.ones_like(groups, dtype=torch.bool)
    for _ in range(len(boxes)):
        best = lowered.masked_fill(~waiting, -1).argmax()
        waiting[best] = False
        factor = _factors(pairwise_iou(boxes[best][None], boxes)[0], threshold, sigma)
        lowered *= torch.where(waiting & (groups == groups[best]), factor, 1.0)
    return lowered


@torch.library.custom_op("omma::soft_nms_numpy", mutates_args=())
def _numpy(
    boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, sigma: float, stop: float
) -> Tensor:
    count = len(boxes)
    by_group = groups.argsort(stable=True)
    lowered = scores.clone()
    sizes = torch.unique_consecutive(groups[by_group], return_counts=True)[1].tolist() if count else []
    for members in by_group.split(sizes):
        own = boxes[members]
        if len(own) <= _MATRIX_UP_TO:
            matrix = _factors(pairwise_iou(own, own), threshold, sigma).numpy()
        else:
            matrix = None
        lowered[members] = torch.from_numpy(
            _lower(own, matrix, scores[members].numpy(), threshold, sigma, stop)
        )
    return lowered


def _lower(
    boxes: Tensor, matrix: np.ndarray | None, scores: np.ndarray, threshold: float, sigma: float, stop: float
) -> np.ndarray:
    """Lowered scores of one group; factors come from the matrix, or else are computed row by row."""
    lowered, waiting = scores.copy(), scores.copy()
    for _ in range(len(waiting)):
        best = int(waiting.argmax())
        if waiting[best] < stop:
            # The rest can only fall further.
            break
        lowered[best] = waiting[best]
        if matrix is None:
            row = _factors(pairwise_iou(boxes[best : best + 1], boxes)[0], threshold, sigma).numpy()
        else:
            row = matrix[best]
        waiting *= row
        waiting[best] = -np.inf
    rest = waiting > -np.inf
    lowered[rest] = waiting[rest]
    return lowered


@_reference.register_fake
def _(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, sigma: float, stop: float) -> Tensor:
    return torch.empty_like(scores)


@_numpy.register_fake
def _(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, sigma: float, stop: float) -> Tensor:
    return torch.empty_like(scores)


def _triton(
    boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, sigma: float, stop: float
) -> Tensor:
    from omma.ops.kernels.soft_nms import soft_nms as kernel

    return kernel(boxes, scores, groups, threshold, sigma, stop)


_SOFT_NMS = Operator("soft_nms", triton=_triton, numpy=_numpy, reference=_reference)
