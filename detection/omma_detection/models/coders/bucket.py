"""Sides of boxes as the bucket that they lie in and a shift within it (Wang et al., SABL, 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from omma.ops import box_centres
from omma.registry import register


@dataclass(frozen=True)
class BucketTargets:
    """What is to be predicted for the left, right, top and bottom side, of S buckets each: (N, 4, S)."""

    nearest: Tensor
    """1 for the bucket nearest to the side of the object, else 0."""
    counted: Tensor
    """Weight of each bucket's score: 0 for the second nearest, which is as good as right."""
    offsets: Tensor
    """From the side to each bucket, in buckets."""
    regressed: Tensor
    """Weight of each offset."""


@register
class BucketCoder:
    """Half of the buckets across an enlarged box belong to its left (top) side, half to its right (bottom).

    Args:
        buckets: across the box.
        scale: size of what they divide, in boxes.
        regressed: nearest buckets whose offsets are learnt; further ones than the first only if they are less
            than a bucket away.
    """

    def __init__(self, *, buckets: int = 14, scale: float = 1.7, regressed: int = 2) -> None:
        if buckets < 2 or buckets % 2 or not 1 <= regressed <= buckets // 2:
            raise ValueError(
                f"need an even number of buckets and regressed of a half, got {buckets}, {regressed}"
            )
        self.buckets, self.scale, self.regressed = buckets, scale, regressed

    def encode(self, references: Tensor, boxes: Tensor) -> BucketTargets:
        """Targets of references (N, 4) for boxes (N, 4), both xyxy."""
        places, width = self._places(references.float())
        offsets = (places - boxes.float()[:, [0, 2, 1, 3], None]) / width
        distance = offsets.abs()
        order = distance.argsort(dim=2, stable=True)
        nearest = torch.zeros_like(offsets).scatter(2, order[..., :1], 1.0)
        some = torch.zeros_like(offsets).scatter(2, order[..., : self.regressed], 1.0)
        regressed = torch.maximum(nearest, some * (distance < 1))
        counted = 1 - (distance < 1).float() * (1 - nearest)
        return BucketTargets(nearest, counted, offsets, regressed)

    def decode(self, references: Tensor, scores: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (N, 4) xyxy of references (N, 4), not clipped, and how sure their sides are, (N,).

        Args:
            references: xyxy.
            scores: (N, 4, S) logits.
            offsets: (N, 4, S).
        """
        places, width = self._places(references.float())
        probability, order = scores.float().softmax(dim=2).topk(2, dim=2)
        best = order[..., :1]
        sides = (places - offsets.float() * width).gather(2, best)[..., 0]
        # A side between two buckets is as sure as both together.
        beside = (order[..., 0] - order[..., 1]).abs() == 1
        sure = (probability[..., 0] + probability[..., 1] * beside).mean(dim=1)
        return sides[:, [0, 2, 1, 3]], sure

    def _places(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Middles of the buckets of left, right, top and bottom, (N, 4, S), and their widths (N, 4, 1)."""
        centre, half = box_centres(boxes), (boxes[:, 2:] - boxes[:, :2]) / 2 * self.scale
        low, high = centre - half, centre + half
        width = ((high - low) / self.buckets)[:, [0, 0, 1, 1], None]
        step = torch.arange(self.buckets // 2, device=boxes.device) + 0.5
        inward = step * width.new_tensor([1.0, -1.0, 1.0, -1.0])[:, None]  # (4, S)
        start = torch.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], dim=1)
        return start[..., None] + inward * width, width
