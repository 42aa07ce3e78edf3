"""Heat maps of objects, and the peaks of heat maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def gaussian_radius(sizes: Tensor, least_overlap: float) -> Tensor:
    """How far two corners of a box may move for its IoU to stay at ``least_overlap`` (Law and Deng, 2018).

    The least of three radii, with both corners moved in, both out, or one of each, as the published code
    solves them.

    Args:
        sizes: (..., 2) widths and heights, in any unit.
    """
    total, area = sizes.sum(dim=-1), sizes.prod(dim=-1)
    t = least_overlap
    shifted = (total - (total.square() - 4 * area * (1 - t) / (1 + t)).clamp(min=0).sqrt()) / 2
    inner = (2 * total - (4 * total.square() - 16 * area * (1 - t)).clamp(min=0).sqrt()) / 8
    outer = (-2 * t * total + (4 * t**2 * total.square() + 16 * t * area * (1 - t)).sqrt()) / (8 * t)
    return torch.minimum(torch.minimum(shifted, inner), outer)


def draw_gaussians(
    places: Tensor, radii: Tensor, labels: Tensor, real: Tensor, num_classes: int, size: tuple[int, int]
) -> Tensor:
    """Heat maps (N, C, H, W): around each object's place a Gaussian, the larger of those that overlap.

    Args:
        places: (N, G, 2) xy int64, positions of the map.
        radii: (N, G) int64; beyond them a Gaussian is cut off.
        labels: (N, G) int64.
        real: (N, G) bool: is an object.
        num_classes: C.
        size: (H, W).
    """
    height, width = size
    x = torch.arange(width, device=places.device) - places[..., :1]  # (N, G, W)
    y = torch.arange(height, device=places.device) - places[..., 1:]  # (N, G, H)
    radius = radii[..., None]
    spread = 2 * ((2 * radius + 1) / 6) ** 2
    row = (-x.square() / spread).exp() * (x.abs() <= radius) * real[..., None]
    column = (-y.square() / spread).exp() * (y.abs() <= radius)
    each = column[..., None] * row[..., None, :]  # (N, G, H, W)
    each = each * (each >= torch.finfo(each.dtype).eps)
    maps = each.new_zeros(len(places), num_classes, height, width)
    return maps.scatter_reduce(1, labels[..., None, None].expand_as(each), each, "amax")


def peaks(heat: Tensor, count: int, kernel: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Score, class and place, each (N, K), of the highest local maxima of heat maps (N, C, H, W).

    The place counts row by row.
    """
    highest = F.max_pool2d(heat, kernel, stride=1, padding=(kernel - 1) // 2)
    flat = (heat * (heat == highest)).flatten(1)
    score, index = flat.topk(min(count, flat.shape[1]), dim=1)
    area = heat.shape[2] * heat.shape[3]
    return score, index // area, index % area
