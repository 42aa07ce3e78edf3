"""Suppression in one go, without a sequence (Wang et al., SOLOv2, 2020)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.precision import at_least_float32


def matrix_nms(
    overlaps: Tensor,
    scores: Tensor,
    groups: Tensor,
    *,
    method: Literal["linear", "gaussian"] = "gaussian",
    sigma: float = 2.0,
    min_score: float = 0.0,
    max_keep: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Lower each score by the overlaps with better ones of its group, forgiving those that are overlapped.

    The factor of element j is the least over all better i of f(IoU_ij) / f(c_i), where c_i is the largest
    IoU of i with a better one, and f(x) is 1 - x or exp(-sigma x^2).

    Args:
        overlaps: (N, N) IoU of masks or boxes, symmetric.
        scores: (N,).
        groups: (N,) integers; only elements of the same group (class) touch each other.
        method: ``linear`` or ``gaussian``.
        sigma: of the gaussian method.
        min_score: elements that end below are left out.
        max_keep: at most so many, the best ones.

    Returns:
        Indices (K,) int64 by falling lowered score, and those scores (K,), float32 or better.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above, or the method is unknown.
    """
    if method not in ("linear", "gaussian"):
        raise ValueError(f"matrix_nms: method must be linear or gaussian, got {method!r}")
    check_tensors(
        "matrix_nms",
        ("overlaps", overlaps, ("N", "N"), "float"),
        ("scores", scores, ("N",), "float"),
        ("groups", groups, ("N",), "int"),
    )
    scores = at_least_float32(scores)
    if overlaps.shape[0] == 0:
        return groups.long(), scores
    order = scores.argsort(descending=True, stable=True)
    label = groups[order]
    # Row i holds what the better element i does to the worse elements j.
    iou = at_least_float32(overlaps)[order][:, order].triu(diagonal=1) * (label[:, None] == label)
    covered = iou.amax(0)[:, None]
    if method == "gaussian":
        factor = (sigma * (covered.square() - iou.square())).exp()
    else:
        # A fully covered element suppresses nothing: its 0 / 0 counts as 1.
        free = 1 - covered
        factor = torch.where(free > 0, (1 - iou) / free.clamp(min=1e-12), 1.0)
    lowered = torch.empty_like(scores).index_copy(0, order, scores[order] * factor.amin(0))
    best = lowered.argsort(descending=True, stable=True)
    best = best[lowered[best] >= min_score][:max_keep]
    return best, lowered[best]
