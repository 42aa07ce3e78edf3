"""Boxes as shifts and log sizes against a reference box (Girshick et al., R-CNN, 2014)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omma.ops import box_centres
from omma.registry import register


@register
class DeltaCoder:
    """(dx, dy, dw, dh): the centre's shift in sizes of the reference, and the log ratio of the sizes.

    Args:
        stds: each delta is divided by its deviation, so that all have about unit variance.
        max_ratio: largest |log size ratio| that is decoded; keeps exp() finite.
        max_shift: farthest that a decoded centre lies from that of its reference, along each axis, pixels;
            null: anywhere. With it only growth is limited by ``max_ratio`` (Chen et al., YOLOF, 2021).
    """

    def __init__(
        self,
        *,
        stds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
        max_ratio: float = abs(math.log(16 / 1000)),
        max_shift: float | None = None,
    ) -> None:
        self.stds = stds
        self.max_ratio = max_ratio
        self.max_shift = max_shift

    def encode(self, references: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (N, 4) from references (N, 4) to boxes (N, 4), both xyxy."""
        references, boxes = references.float(), boxes.float()
        size, target_size = references[:, 2:] - references[:, :2], boxes[:, 2:] - boxes[:, :2]
        centre, target = box_centres(references), box_centres(boxes)
        deltas = torch.cat([(target - centre) / size, (target_size / size).log()], dim=1)
        return deltas / deltas.new_tensor(self.stds)

    def decode(self, references: Tensor, deltas: Tensor) -> Tensor:
        """Boxes (..., 4) xyxy from references (..., 4) and deltas (..., 4), broadcasting; not clipped."""
        references, deltas = references.float(), deltas.float()
        deltas = deltas * deltas.new_tensor(self.stds)
        size = references[..., 2:] - references[..., :2]
        shift, least = deltas[..., :2] * size, -self.max_ratio
        if self.max_shift is not None:
            shift, least = shift.clamp(-self.max_shift, self.max_shift), -math.inf
        centre = box_centres(references) + shift
        half = deltas[..., 2:].clamp(least, self.max_ratio).exp() * size / 2
        return torch.cat([centre - half, centre + half], dim=-1)


def clip_boxes(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (N, ..., 4) xyxy cut to the images' (N, 2) heights and widths."""
    limit = sizes[:, [1, 0, 1, 0]].to(boxes.dtype)
    limit = limit.view(len(sizes), *(1,) * (boxes.ndim - 2), 4)
    return boxes.clamp(min=0).minimum(limit)
