"""Boxes as a place within a cell and log sizes (Redmon and Farhadi, YOLOv3, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops import box_centres

_EDGE = 1e-6
"""Least distance of a target from the borders of its cell, and least ratio of sizes."""


def boxes_to_cells(anchors: Tensor, boxes: Tensor, strides: Tensor) -> Tensor:
    """Places (x, y) in 0..1 within the anchor's cell, and log ratios of the sizes: (..., 4).

    Args:
        anchors: (..., 4) xyxy, centred in their cells.
        boxes: (..., 4) xyxy.
        strides: (...) sides of the cells, in the same unit.
    """
    shift = (boxes[..., :2] + boxes[..., 2:] - anchors[..., :2] - anchors[..., 2:]) / 2
    place = (shift / strides[..., None] + 0.5).clamp(_EDGE, 1 - _EDGE)
    ratio = (boxes[..., 2:] - boxes[..., :2]) / (anchors[..., 2:] - anchors[..., :2])
    return torch.cat([place, ratio.clamp(min=_EDGE).log()], dim=-1)


def cells_to_boxes(anchors: Tensor, logits: Tensor, strides: Tensor | float) -> Tensor:
    """xyxy boxes (..., 4) of logits of places and log ratios (..., 4); the rest as in ``boxes_to_cells``."""
    logits = logits.float()
    if isinstance(strides, Tensor):
        strides = strides[..., None]
    centre = box_centres(anchors) + (logits[..., :2].sigmoid() - 0.5) * strides
    half = (anchors[..., 2:] - anchors[..., :2]) / 2 * logits[..., 2:].exp()
    return torch.cat([centre - half, centre + half], dim=-1)
