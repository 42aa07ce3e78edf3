"""Boxes as the distances of their sides from an anchor's centre (Zhu et al., FSAF, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops import box_centres
from omma.registry import register


@register
class SideCoder:
    """(top, bottom, left, right) distances from the centre, in heights and widths of the reference box.

    Args:
        unit: each distance is divided by it.
    """

    def __init__(self, *, unit: float = 4.0) -> None:
        self.unit = unit

    def decode(self, references: Tensor, sides: Tensor) -> Tensor:
        """Boxes (..., 4) xyxy from references (..., 4) and sides (..., 4), broadcasting; not clipped."""
        references, sides = references.float(), sides.float() * self.unit
        width, height = (references[..., 2:] - references[..., :2]).unbind(dim=-1)
        x, y = box_centres(references).unbind(dim=-1)
        top, bottom, left, right = sides.unbind(dim=-1)
        corners = [x - left * width, y - top * height, x + right * width, y + bottom * height]
        return torch.stack(corners, dim=-1)
