"""Assignment by regions of objects on the level of their size (Wang et al., Guided Anchoring, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.registry import register
from omma_detection.models.assigners.max_iou import Assignment
from omma_detection.models.objects import Objects
from omma_detection.models.priors import AnchorGenerator


@register
class RegionAssigner:
    """The middle of an object is positive on the level of its size; around it nothing is learnt.

    An object belongs to the level whose anchors are about as large. There the positions of its inner region
    have it and the others of its outer region count for nothing, whatever earlier objects say; on the levels
    next to it the outer region counts for nothing either. All other positions are background.

    Args:
        inner: side of the inner region, as a share of the object's.
        outer: side of the outer one.
        keep_positives: positions that have an object keep it where an object of a level beside ignores them.
    """

    def __init__(self, *, inner: float = 0.2, outer: float = 0.5, keep_positives: bool = False) -> None:
        if not 0 <= inner <= outer <= 1:
            raise ValueError(f"need 0 <= inner <= outer <= 1, got {inner} and {outer}")
        self.inner, self.outer, self.keep_positives = inner, outer, keep_positives

    @torch.no_grad()
    def __call__(
        self, anchors: AnchorGenerator, sizes: Sequence[tuple[int, int]], objects: Objects, valid: Tensor
    ) -> Assignment:
        """Which position has which object, in each of N images.

        Args:
            anchors: whose first scale is the size of an object of a level.
            sizes: (H, W) of each level.
            objects: of the N images.
            valid: (N, P) bool: positions that take part; the others get neither object nor background.
        """
        side = objects.areas.sqrt()
        smallest = torch.log2(side.new_tensor(float(anchors.scales[0] * anchors.strides[0])))
        last_level = len(anchors.strides) - 1
        own = (side.log2() - smallest + 0.5).floor().clamp(0, last_level)  # (N, G)
        order = torch.arange(objects.real.shape[1], device=side.device)[:, None]
        levels = []
        for level, (stride, size) in enumerate(zip(anchors.strides, sizes, strict=True)):
            boxes = objects.boxes / stride
            outer = (_inside(boxes, self.outer, size) & objects.real[..., None, None]).flatten(2)  # (N, G, P)
            here = outer & (own == level)[..., None]
            last = torch.where(here, order, -1).amax(dim=1)  # (N, P)
            inner = _inside(boxes, self.inner, size).flatten(2)
            inner = inner.gather(1, last.clamp(min=0)[:, None])[:, 0]
            assigned = torch.where(inner | (last < 0), last, -2)
            beside = (outer & ((own - level).abs() == 1)[..., None]).any(dim=1)
            open_ = assigned == -1 if self.keep_positives else torch.ones_like(beside)
            levels.append(torch.where(beside & open_, -2, assigned))
        return Assignment(torch.where(valid, torch.cat(levels, dim=1), -2))


def _inside(boxes: Tensor, share: float, size: tuple[int, int]) -> Tensor:
    """Positions (N, G, H, W) in boxes (N, G, 4) in strides, shrunk to ``share`` of their sides.

    Corners are rounded to whole positions, and both lie inside.
    """
    r = (1 - share) / 2
    low = ((1 - r) * boxes[..., :2] + r * boxes[..., 2:]).round()
    high = (r * boxes[..., :2] + (1 - r) * boxes[..., 2:]).round()
    y, x = (torch.arange(n, device=boxes.device) for n in size)
    across = (x >= low[..., :1]) & (x <= high[..., :1])
    down = (y >= low[..., 1:]) & (y <= high[..., 1:])
    return down[..., :, None] & across[..., None, :]
