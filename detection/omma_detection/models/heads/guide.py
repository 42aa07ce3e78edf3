"""Anchors that are learnt: where they are and how large (Wang et al., Guided Anchoring, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import GuidedDeformConv2d, init_conv
from omma.losses import Loss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.assigners import MaxIoUAssigner, RegionAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.dense import map_sizes
from omma_detection.models.heads.detections import image_sizes
from omma_detection.models.heads.targets import draw, flatten_levels, gather
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.samplers import BoxSampler

_BACKGROUND_WEIGHT = 0.1
_POSITIONS_PER_LOSS = 200
"""The loss of locations is divided by the number of all positions over this."""


@register
class AnchorGuide(nn.Module):
    """From maps of locations and shapes to anchors, and what both maps learn.

    A square at each position takes the predicted width and height. Positions whose location score is low are
    left out in tests. Locations learn from the regions of objects; shapes from the objects that any usual
    anchor at the position overlaps.

    Args:
        anchors: usual anchors, of which the squares have the first scale.
        coder: the shape as deltas of a square, of which it takes the last two.
        threshold: location score from which on a position has an anchor.
        region_assigner: which positions are in the middle of objects.
        shape_assigner: which object the shape of a position is to fit.
        sampler: which positions enter the loss of shapes.
        location_loss: on the location scores, labels with 1 as background.
        shape_loss: on the boxes of positives.
        high_in_middle: whether location scores are high in the middle of objects, as in the paper. Those of
            OpenMMLab have learnt the opposite since version 2.0, where a label of 1 became background.
    """

    def __init__(
        self,
        *,
        anchors: AnchorGenerator,
        coder: DeltaCoder,
        threshold: float = 0.01,
        region_assigner: RegionAssigner,
        shape_assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        location_loss: Loss,
        shape_loss: Loss,
        high_in_middle: bool = True,
    ) -> None:
        super().__init__()
        self.anchors, self.coder, self.threshold = anchors, coder, threshold
        self.squares = AnchorGenerator(strides=anchors.strides, ratios=(1.0,), scales=anchors.scales[:1])
        self.region_assigner, self.shape_assigner = region_assigner, shape_assigner
        self.sampler = sampler
        self.location_loss, self.shape_loss = location_loss, shape_loss
        self.high_in_middle = high_in_middle

    def kept(self, locations: Tensor) -> Tensor:
        """Where anchors are, (N, H, W) bool, from location logits (N, 1, H, W)."""
        return locations[:, 0].float().sigmoid() >= self.threshold

    @torch.no_grad()
    def anchors_of(self, shapes: Sequence[Tensor]) -> list[Tensor]:
        """The anchors (N, H * W, 4) xyxy of each level, from shapes (N, 2, H, W); without gradient."""
        grid = self.squares.grid(map_sizes(shapes), shapes[0].device)
        return [self._boxes(squares, flatten_levels([s], 2)) for squares, s in zip(grid, shapes)]

    def covered(self, maps: Sequence[Tensor], batch: Batch) -> Tensor:
        """(N, P) bool: positions that lie in the image."""
        return self.squares.covered(map_sizes(maps), image_sizes(batch, maps[0].device))

    def losses_of_locations(self, locations: Sequence[Tensor], batch: Batch) -> Tensor:
        """The loss of location logits (N, 1, H, W) per level."""
        logits = flatten_levels(locations, 1)
        everywhere = torch.ones_like(logits[..., 0], dtype=torch.bool)
        objects = pad_objects(batch.samples, logits.device)
        assigned = self.region_assigner(self.squares, map_sizes(locations), objects, everywhere)
        weight = torch.where(assigned.negative, _BACKGROUND_WEIGHT, assigned.positive.float())
        labels = (assigned.positive != self.high_in_middle).long()
        count = normalizer(labels.numel() / _POSITIONS_PER_LOSS)
        weight, labels = weight.flatten()[:, None], labels.flatten()
        return self.location_loss(logits.flatten(0, 1), labels, weight=weight, avg_factor=count)

    def losses_of_shapes(self, shapes: Sequence[Tensor], batch: Batch) -> Tensor:
        """The loss of shapes (N, 2, H, W) per level."""
        device, sizes = shapes[0].device, map_sizes(shapes)
        usual = torch.cat(self.anchors.grid(sizes, device)).unflatten(0, (-1, self.anchors.per_position))
        assignments, targets = [], []
        for sample, valid in zip(batch.samples, self.covered(shapes, batch)):
            objects = sample["boxes"].as_subclass(Tensor).float()
            assignments.append(self.shape_assigner(usual, objects, valid))
            targets.append(gather(objects, assignments[-1]))
        positive, _, count = draw(assignments, self.sampler)
        count = normalizer(count)
        image, position = positive.nonzero(as_tuple=True)
        squares = torch.cat(self.squares.grid(sizes, device))[position]
        boxes = self._boxes(squares, flatten_levels(shapes, 2)[image, position])
        return self.shape_loss(boxes, torch.stack(targets)[image, position], avg_factor=count)

    def _boxes(self, squares: Tensor, shapes: Tensor) -> Tensor:
        """(..., 4) from squares (..., 4) and shapes (..., 2), broadcasting."""
        return self.coder.decode(squares, torch.cat([torch.zeros_like(shapes), shapes], dim=-1))


class FeatureAdaption(nn.Module):
    """A deformable convolution that reads the map where the anchor's shape says, and ReLU.

    Args:
        channels: of the map.
        groups: of channels that have offsets of their own.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(2, groups * 18, 1, bias=False)
        self.conv_adaption = GuidedDeformConv2d(channels, channels, 3, padding=1)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small weights; offsets that depend on the shape from the start."""
        init_conv(self.conv_adaption, std=0.01)
        init_conv(self.conv_offset, std=0.1)

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        """(N, C, H, W) and shapes (N, 2, H, W), which get no gradient -> (N, C, H, W)."""
        return self.conv_adaption(x, self.conv_offset(shape.detach())).relu()
