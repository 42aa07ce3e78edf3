"""Heat maps of objects, and the peaks of heat maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from omma_detection.models.objects import Objects


@dataclass(frozen=True)
class Marks:
    """One point of each object, its centre or a corner, on a map."""

    heat: Tensor
    """(N, C, H, W): 1 at the points, falling off around them."""
    image: Tensor
    """(K,): the image of each object that owns its position; of several at one place the last does."""
    owner: Tensor
    """(K,): which of its image's objects it is."""
    position: Tensor
    """(K, 2) xy int64."""
    offset: Tensor
    """(K, 2) xy from the position to the point."""
    places: Tensor
    """(N, G) int64: each object's position, row by row; anything for filling."""

    def read(self, maps: Tensor) -> Tensor:
        """What maps (N, C, H, W) say at the owners' positions, (K, C)."""
        return maps.flatten(2)[self.image, :, self.places[self.image, self.owner]]


def mark(points: Tensor, radii: Tensor, objects: Objects, num_classes: int, size: tuple[int, int]) -> Marks:
    """Put points on a map of ``size`` (H, W).

    Args:
        points: (N, G, 2) xy, positions of the map.
        radii: (N, G) positions, rounded down: how far around it a point counts.
        objects: whose points they are.
        num_classes: C.
        size: (H, W).
    """
    height, width = size
    limit = torch.tensor([width - 1, height - 1], device=points.device)
    positions = points.long().clamp(min=0).minimum(limit)
    reach = radii.long().clamp(min=0)
    heat = draw_gaussians(positions, reach, objects.labels, objects.real, num_classes, size)
    places = positions[..., 1] * width + positions[..., 0]
    same = (places[:, :, None] == places[:, None]) & objects.real[:, None]
    later = torch.ones_like(same[0]).triu(1)
    owns = objects.real & ~(same & later).any(dim=2)
    image, owner = owns.nonzero(as_tuple=True)
    offset = (points - positions)[image, owner]
    return Marks(heat, image, owner, positions[image, owner], offset, places)


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


def at_places(maps: Tensor, places: Tensor) -> Tensor:
    """What maps (N, C, H, W) say at places (N, K) that count row by row, (N, K, C)."""
    index = places[:, None].expand(-1, maps.shape[1], -1)
    return maps.flatten(2).gather(2, index).transpose(1, 2)


def place_positions(places: Tensor, width: int) -> Tensor:
    """xy (N, K, 2) of places (N, K) that count row by row on a map of ``width``."""
    return torch.stack([places % width, places // width], dim=2)
