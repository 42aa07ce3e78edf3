"""Grid R-CNN (Lu et al., 2018), with the smaller heat maps of Grid R-CNN Plus (2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from omma.layers import init_conv, prior_bias
from omma.losses import Loss
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.heads.bbox_head import BBoxHead
from omma_detection.models.heads.detections import box_scales, image_sizes
from omma_detection.models.heads.mask_head import scaled_rois
from omma_detection.models.heads.region import Regions
from omma_detection.models.heads.roi_extractor import RoIExtractor, boxes_to_rois
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.samplers import BoxSampler


@register
class GridRoIHead(RoIHead):
    """Classifies proposals, and finds the box of each detection from the points of a grid over it.

    Args:
        assigner: which proposals are objects.
        sampler: which proposals enter the losses.
        bbox_roi_extractor: features for the box head.
        bbox_head: the class; it regresses nothing.
        grid_roi_extractor: features for the grid.
        grid_head: heat maps of the grid's points.
        max_grids: positives of a batch that the grid learns from.
        jitter: by how much their centres and sizes are moved, in sizes.
    """

    def __init__(
        self,
        *,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        bbox_roi_extractor: RoIExtractor,
        bbox_head: BBoxHead,
        grid_roi_extractor: RoIExtractor,
        grid_head: GridHead,
        max_grids: int = 192,
        jitter: float = 0.15,
    ) -> None:
        super().__init__(
            assigner=assigner, sampler=sampler, bbox_roi_extractor=bbox_roi_extractor, bbox_head=bbox_head
        )
        self.grid_roi_extractor, self.grid_head = grid_roi_extractor, grid_head
        self.max_grids, self.jitter = max_grids, jitter

    def pooled(self) -> list[tuple[str, int, RoIExtractor]]:
        """The places of the box head and of the grid head."""
        return [*super().pooled(), ("grid", self.grid_head.in_channels, self.grid_roi_extractor)]

    def forward(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> tuple[Tensor, ...]:
        """Raw logits for all proposals, and the heat maps for the first hundred."""
        rois = boxes_to_rois(proposals)
        heat = self.grid_head(self.grid_roi_extractor(maps, rois[:100]))
        return *self.box_outputs(maps, rois), heat.fused, heat.unfused

    def box_loss(self, maps: Sequence[Tensor], regions: Sequence[Regions], batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_grid``."""
        losses = super().box_loss(maps, regions, batch)
        rois = boxes_to_rois([r.positives for r in regions])
        targets = torch.cat([r.target_boxes[: len(r.objects)] for r in regions])
        rois = self._jittered(rois, image_sizes(batch, rois.device))
        chosen = torch.randperm(len(rois), device=rois.device)[: self.max_grids]
        heat = self.grid_head(self.grid_roi_extractor(maps, rois[chosen]))
        return losses | self.grid_head.loss(heat, rois[chosen, 1:], targets[chosen])

    def predict(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> list[Prediction]:
        """Detections in original pixels."""
        predictions = super().predict(maps, proposals, batch)
        rois = scaled_rois(predictions, batch)
        heat = self.grid_head(self.grid_roi_extractor(maps, rois)).fused
        image = rois[:, 0].long()
        limit = image_sizes(batch, rois.device)[image][:, [1, 0, 1, 0]].float()
        boxes = self.grid_head.decode(rois[:, 1:], heat).clamp(min=0).minimum(limit)
        boxes = boxes / box_scales(batch, rois.device)[image]
        for prediction, own in zip(predictions, boxes.split([len(p["labels"]) for p in predictions])):
            prediction["boxes"] = own
        return predictions

    def _jittered(self, rois: Tensor, sizes: Tensor) -> Tensor:
        """Rois moved at random, as the boxes of detections lie less well than those of positives."""
        move = torch.empty_like(rois[:, 1:]).uniform_(-self.jitter, self.jitter)
        size = rois[:, 3:] - rois[:, 1:3]
        centre = (rois[:, 1:3] + rois[:, 3:]) / 2 + size * move[:, :2]
        half = size * (1 + move[:, 2:]) / 2
        limit = sizes[rois[:, 0].long()][:, [1, 0, 1, 0]] - 1
        boxes = torch.cat([centre - half, centre + half], dim=1).clamp(min=0).minimum(limit.to(rois.dtype))
        return torch.cat([rois[:, :1], boxes], dim=1)


class Heat(NamedTuple):
    """Logits (R, P, M, M) of the P points of a grid, each in its own half of a region of twice the size."""

    fused: Tensor
    unfused: Tensor
    """Without information from neighbours; only in training different."""


@register
class GridHead(nn.Module):
    """Heat maps of the points of a square grid over a box, column by column from the top-left corner.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width.
        num_convs: convolutions; the first has stride 2.
        points: of the grid.
        point_channels: channels of each point.
        groups: of the group norms.
        radius: of a point in the targets, pixels of the heat map.
        loss: on the logits.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        roi_size: int = 14,
        num_convs: int = 8,
        points: int = 9,
        point_channels: int = 64,
        groups: int = 36,
        radius: int = 1,
        loss: Loss,
    ) -> None:
        super().__init__()
        self.side = round(points**0.5)
        if points < 4 or self.side**2 != points:
            raise ValueError(f"points must be a square number of at least 4, got {points}")
        self.in_channels, self.points, self.point_channels = in_channels, points, point_channels
        self.radius, self.grid_loss = radius, loss
        self.map_size = 2 * roi_size
        """Of a heat map, which is half of the whole region's."""
        width = points * point_channels
        self.convs = nn.Sequential(
            *(
                _ConvNorm(in_channels if i == 0 else width, width, 2 if i == 0 else 1, groups)
                for i in range(num_convs)
            )
        )
        self.deconv1 = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, groups=points)
        self.norm1 = nn.GroupNorm(points, width)
        self.deconv2 = nn.ConvTranspose2d(width, points, 4, stride=2, padding=1, groups=points)
        self.neighbours = [_neighbours(i, self.side) for i in range(points)]
        self.forder_trans = nn.ModuleList(self._transitions(n) for n in self.neighbours)
        self.sorder_trans = nn.ModuleList(self._transitions(n) for n in self.neighbours)
        init_conv(self, kind="kaiming")
        init_conv(self.deconv1, std=0.001)
        init_conv(self.deconv2, std=0.001, bias=prior_bias(0.01))

    def _transitions(self, neighbours: Sequence[int]) -> nn.ModuleList:
        c = self.point_channels
        return nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, c, 5, padding=2, groups=c), nn.Conv2d(c, c, 1)) for _ in neighbours
        )

    def forward(self, features: Tensor) -> Heat:
        """Features (R, C_in, S, S) -> logits (R, P, 2 S, 2 S)."""
        x = self.convs(features)
        own = list(x.split(self.point_channels, dim=1))
        first = self._fuse(own, own, self.forder_trans)
        fused = self._heat(torch.cat(self._fuse(own, first, self.sorder_trans), dim=1))
        return Heat(fused, self._heat(x) if self.training else fused)

    def loss(self, heat: Heat, rois: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        """``loss_grid`` of the heat maps of rois (R, 4) for the boxes (R, 4) of their objects."""
        target = self.targets(rois, boxes)
        return {"loss_grid": self.grid_loss(heat.fused, target) + self.grid_loss(heat.unfused, target)}

    def targets(self, rois: Tensor, boxes: Tensor) -> Tensor:
        """(R, P, M, M) of 0/1: discs at the grid points of boxes (R, 4); none for tiny rois (R, 4)."""
        low, size = self._region(rois)
        step = torch.linspace(0, 1, self.side, device=boxes.device)
        x = boxes[:, 0, None] + step * (boxes[:, 2] - boxes[:, 0])[:, None]  # (R, side)
        y = boxes[:, 1, None] + step * (boxes[:, 3] - boxes[:, 1])[:, None]
        x = ((x - low[:, :1]) / size[:, :1] * 2 * self.map_size).trunc()
        y = ((y - low[:, 1:]) / size[:, 1:] * 2 * self.map_size).trunc()
        corner = self._corners(boxes.device)
        x = x.repeat_interleave(self.side, dim=1) - corner[:, 0]  # (R, P)
        y = y.repeat(1, self.side) - corner[:, 1]
        place = torch.arange(self.map_size, device=boxes.device)
        distance = (place[:, None] - y[..., None, None]) ** 2 + (place - x[..., None, None]) ** 2
        found = (distance <= self.radius**2) & (size > self.side).all(dim=1)[:, None, None, None]
        return found.float()

    def decode(self, rois: Tensor, logits: Tensor) -> Tensor:
        """Boxes (R, 4) xyxy of rois (R, 4): each side is a mean over its points, weighted by their scores."""
        low, size = self._region(rois)
        score, place = logits.float().sigmoid().flatten(2).max(dim=2)  # (R, P)
        corner = self._corners(rois.device)
        # A heat map has half of the whole region's pixels.
        x = (place % self.map_size + corner[:, 0] + 0.5) / (2 * self.map_size) * size[:, :1] + low[:, :1]
        y = (place.div(self.map_size, rounding_mode="floor") + corner[:, 1] + 0.5) / (2 * self.map_size)
        y = y * size[:, 1:] + low[:, 1:]
        x, y, score = (each.unflatten(1, (self.side, self.side)) for each in (x, y, score))
        ends = (0, -1)
        sides_x = [(x[:, i] * score[:, i]).sum(1) / score[:, i].sum(1) for i in ends]
        sides_y = [(y[:, :, i] * score[:, :, i]).sum(1) / score[:, :, i].sum(1) for i in ends]
        return torch.stack([sides_x[0], sides_y[0], sides_x[1], sides_y[1]], dim=1)

    def _region(self, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Corner and size, (R, 2) each, of what the whole heat map covers: twice the roi."""
        size = rois[:, 2:] - rois[:, :2]
        return rois[:, :2] - size / 2, size * 2

    def _corners(self, device: torch.device) -> Tensor:
        """(P, 2) where each point's map begins in the whole one, x and y."""
        half, last = self.map_size, self.side - 1
        start = [
            0 if i == 0 else half if i == last else max(int((i / last - 0.25) * 2 * half), 0)
            for i in range(self.side)
        ]
        return torch.tensor([[x, y] for x in start for y in start], device=device)

    def _fuse(
        self, own: Sequence[Tensor], other: Sequence[Tensor], transitions: nn.ModuleList
    ) -> list[Tensor]:
        """Each point's features plus what its neighbours' say of it."""
        out = []
        for x, near, modules in zip(own, self.neighbours, transitions):
            for index, module in zip(near, modules.children()):
                x = x + module(other[index])
            out.append(x)
        return out

    def _heat(self, x: Tensor) -> Tensor:
        return self.deconv2(self.norm1(self.deconv1(x)).relu())


def _neighbours(point: int, side: int) -> list[int]:
    """Left, above, below and right of a point, where there are."""
    column, row = divmod(point, side)
    near = [(column - 1, row), (column, row - 1), (column, row + 1), (column + 1, row)]
    return [x * side + y for x, y in near if 0 <= x < side and 0 <= y < side]


class _ConvNorm(nn.Module):
    """A 3x3 convolution with bias, group norm and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1)
        self.gn = nn.GroupNorm(groups, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.gn(self.conv(x)).relu()
