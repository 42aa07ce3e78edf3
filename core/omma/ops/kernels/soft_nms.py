"""Soft suppression in one launch: a program for each group steps through it without the host."""

# pyright: reportArgumentType=false
# Python numbers become constexpr arguments at the launch.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from omma.ops.kernels.launch import compute_type, on_device_of

_BLOCK = 1024
_TAKEN = float("-inf")


@triton.jit
def _factor(x1, y1, x2, y2, ax1, ay1, ax2, ay2, threshold, sigma, gaussian: tl.constexpr):
    inter = tl.maximum(tl.minimum(x2, ax2) - tl.maximum(x1, ax1), 0.0)
    inter *= tl.maximum(tl.minimum(y2, ay2) - tl.maximum(y1, ay1), 0.0)
    union = (x2 - x1) * (y2 - y1) + (ax2 - ax1) * (ay2 - ay1) - inter
    iou = inter / tl.maximum(union, 1e-6)
    if gaussian:
        return tl.exp(-iou * iou / sigma)
    return tl.where(iou >= threshold, 1.0 - iou, 1.0)


@triton.jit
def _soft_nms(
    boxes,
    waiting,
    lowered,
    starts,
    threshold,
    sigma,
    stop,
    block: tl.constexpr,
    gaussian: tl.constexpr,
    compute: tl.constexpr,
):
    """Lower the scores ``waiting`` of one group in place; those of taken boxes go to ``lowered``."""
    group = tl.program_id(0)
    start = tl.load(starts + group).to(tl.int64)
    end = tl.load(starts + group + 1).to(tl.int64)
    # A box at no place, of no size, overlaps none: the first sweep only looks for the best.
    x1 = tl.full([], 0.0, compute)
    y1, x2, y2 = x1, x1, x1
    taken = end * 0 - 1
    steps = end - start
    while steps >= 0:
        best = tl.full([], -float("inf"), compute)
        best_at = start
        for first in range(start, end, block):
            at = first + tl.arange(0, block)
            inside = at < end
            score = tl.load(waiting + at, mask=inside, other=-float("inf"))
            ax1 = tl.load(boxes + at * 4, mask=inside, other=0.0)
            ay1 = tl.load(boxes + at * 4 + 1, mask=inside, other=0.0)
            ax2 = tl.load(boxes + at * 4 + 2, mask=inside, other=0.0)
            ay2 = tl.load(boxes + at * 4 + 3, mask=inside, other=0.0)
            score *= _factor(x1, y1, x2, y2, ax1, ay1, ax2, ay2, threshold, sigma, gaussian)
            score = tl.where(at == taken, -float("inf"), score)
            tl.store(waiting + at, score, mask=inside)
            top = tl.max(score, axis=0)
            top_at = first + tl.argmax(score, axis=0)
            best_at = tl.where(top > best, top_at, best_at)
            best = tl.maximum(best, top)
        taken = best_at
        steps -= 1
        if best < stop:
            # The rest can only fall further.
            steps = steps * 0 - 1
        else:
            tl.store(lowered + taken, best)
            x1 = tl.load(boxes + taken * 4)
            y1 = tl.load(boxes + taken * 4 + 1)
            x2 = tl.load(boxes + taken * 4 + 2)
            y2 = tl.load(boxes + taken * 4 + 3)


@torch.library.custom_op("omma::soft_nms", mutates_args=())
def soft_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, sigma: float, stop: float
) -> Tensor:
    """Lowered scores (N,) of boxes (N, 4) in groups (N,) int64; sigma 0 stands for the linear method.

    Scores of boxes that end below ``stop`` are only known to be so.
    """
    by_group = groups.argsort(stable=True)
    if not len(boxes):
        return scores.clone()
    counts = torch.unique_consecutive(groups[by_group], return_counts=True)[1]
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    waiting = scores[by_group].contiguous()
    lowered = torch.full_like(waiting, _TAKEN)
    with on_device_of(boxes):
        _soft_nms[(len(counts),)](
            boxes[by_group].contiguous(),
            waiting,
            lowered,
            starts,
            threshold,
            sigma,
            stop,
            block=_BLOCK,
            gaussian=sigma > 0,
            compute=compute_type(boxes),
        )
    lowered = torch.maximum(lowered, waiting)
    return torch.empty_like(scores).index_copy_(0, by_group, lowered)


@soft_nms.register_fake
def _(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float, sigma: float, stop: float) -> Tensor:
    return torch.empty_like(scores)
