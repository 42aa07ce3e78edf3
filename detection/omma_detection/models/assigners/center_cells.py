"""Assignment by the centre of masks (Wang et al., SOLO: Segmenting Objects by Locations, 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from omma.registry import register


@dataclass(frozen=True)
class CellAssignment:
    """Which of the P cells of all grids belong to which of the objects of N images.

    The pairs run over the images in order; a cell may be in several of them.
    """

    owners: Tensor
    """(N, P) int64: the object of each cell, of several the last; -1 where there is none."""
    images: Tensor
    """(K,) int64: image of each pair of an object and a cell."""
    objects: Tensor
    """(K,) int64: its object."""
    cells: Tensor
    """(K,) int64: its cell."""


@register
class CenterCellAssigner:
    """The image is cut into grids, one for each level; the cells in the middle of an object have it.

    A level is in charge of objects whose square root of the box's area lies in its range. The middle is a
    region around the centre of mass, as wide as a share of the box; of that only the centre's own cell and
    the eight cells around it count.

    Args:
        grids: cells along each side of the image, one number per level.
        scale_ranges: smallest and largest square root of the area that each level is in charge of, pixels.
        center_scale: sides of the middle region as a share of the box's.
    """

    def __init__(
        self,
        *,
        grids: tuple[int, ...],
        scale_ranges: tuple[tuple[float, float], ...],
        center_scale: float = 0.2,
    ) -> None:
        if len(grids) != len(scale_ranges):
            raise ValueError(f"{len(scale_ranges)} scale_ranges for {len(grids)} grids")
        self.grids, self.scale_ranges, self.center_scale = grids, scale_ranges, center_scale

    @property
    def num_cells(self) -> int:
        """P, of all grids."""
        return sum(grid**2 for grid in self.grids)

    @torch.no_grad()
    def __call__(self, boxes: Tensor, centres: Tensor, size: tuple[int, int]) -> CellAssignment:
        """The cells of the objects of N images; cells are counted row by row, grid after grid.

        Args:
            boxes: (N, G, 4) xyxy, pixels.
            centres: (N, G, 2) xy of the masks' centres of mass, pixels; not-a-number where there is no mask.
            size: (H, W) that the grids cover, pixels.
        """
        grids = torch.tensor(self.grids, device=boxes.device)
        sides = boxes[..., 2:] - boxes[..., :2]
        low, high = boxes.new_tensor(self.scale_ranges).unbind(1)
        scale = sides.prod(dim=-1).sqrt()[:, None]
        charged = (scale >= low[:, None]) & (scale <= high[:, None])  # (N, L, G)

        reach = 0.5 * sides * self.center_scale
        points = torch.stack([centres, centres - reach, centres + reach])  # (3, N, G, 2)
        # In shares of the image and truncated: cells whose borders a centre lies on go as in the reference.
        shares = (points / boxes.new_tensor([size[1], size[0]]))[:, :, None]
        middle, first, last = shares.div((1 / grids)[:, None, None], rounding_mode="trunc")  # (N, L, G, 2)
        first, last = first.clamp(min=0), last.minimum(grids[:, None, None] - 1)
        place = middle[..., None] + torch.arange(-1, 2, device=boxes.device)  # (N, L, G, 2, 3)
        within = (place >= first[..., None]) & (place <= last[..., None])
        inside = within[..., 1, :, None] & within[..., 0, None, :] & charged[..., None, None]

        image, level, item, row, column = inside.nonzero(as_tuple=True)
        side = grids[level]
        start = grids.square().cumsum(0)[level] - side.square()
        y, x = place[image, level, item, 1, row].long(), place[image, level, item, 0, column].long()
        cells = start + y * side + x
        owners = cells.new_full((len(boxes) * self.num_cells,), -1)
        owners = owners.scatter_reduce(0, image * self.num_cells + cells, item, "amax")
        return CellAssignment(owners.unflatten(0, (len(boxes), self.num_cells)), image, item, cells)
