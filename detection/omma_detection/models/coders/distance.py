"""Boxes as the distances of their four sides from a point (Tian et al., FCOS, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor


def boxes_to_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """(left, top, right, bottom) distances (..., 4) of xyxy boxes from xy points; negative: outside."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def distances_to_boxes(points: Tensor, distances: Tensor) -> Tensor:
    """xyxy boxes (..., 4) around xy points (..., 2)."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


def center_quality(distances: Tensor) -> Tensor:
    """Centre-ness (N,) of distances (N, 4): 1 in the middle of a box, 0 at its border."""
    pairs = distances.reshape(-1, 2, 2)  # (left, top), (right, bottom)
    return (pairs.amin(dim=1) / pairs.amax(dim=1)).prod(dim=1).sqrt()


def expected_distances(logits: Tensor) -> Tensor:
    """Means (..., 4) of four distributions over 0..M, from their logits (..., 4 * (M + 1)).

    Li et al., Generalized Focal Loss, 2020.
    """
    shares = logits.float().unflatten(-1, (4, -1)).softmax(dim=-1)
    return shares @ torch.arange(shares.shape[-1], device=shares.device, dtype=shares.dtype)
