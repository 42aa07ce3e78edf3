"""What CornerNet and CentripetalNet share: a network that finds corners, and boxes from pairs of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Canvas
from omma.ops import corner_pool
from omma.ops.corner_pool import Direction
from omma.parallel import normalizer
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.heads.detections import Candidates, Selection, top_candidates
from omma_detection.models.heads.gaussian import (
    Marks,
    at_places,
    gaussian_radius,
    mark,
    peaks,
    place_positions,
)
from omma_detection.models.heads.placed import Frame, PlacedHead
from omma_detection.models.objects import Objects, pad_objects

SIDES: dict[str, tuple[Direction, Direction]] = {"tl": ("top", "left"), "br": ("bottom", "right")}
"""The corners, as parameters are called after them, and where the maxima move in their pooling."""
LEAST_OVERLAP = 0.3
"""IoU with an object's box of one with nearly right corners."""


class CornerMaps(NamedTuple):
    """Raw maps of one of the two corners at one level."""

    heat: Tensor
    """(N, C, H, W) logits."""
    offset: Tensor
    """(N, 2, H, W) xy from a position to the corner."""
    ties: tuple[Tensor, ...]
    """What tells the corners of one object from others': as the model has it."""


CornerPair = tuple[CornerMaps, CornerMaps]
"""Top left and bottom right."""


@dataclass(frozen=True)
class CornerTargets:
    """The objects of a batch on the map."""

    objects: Objects
    boxes: Tensor
    """(N, G, 4) xyxy, positions."""
    corners: tuple[Marks, Marks]
    peaks: Tensor
    """(2,): places of the heat maps that are corners, what their losses are divided by."""
    owners: Tensor
    """(2,): corners that own their position, what losses at corners are divided by."""


@dataclass(frozen=True)
class Found:
    """The likeliest corners of one kind, K per image."""

    scores: Tensor
    """(N, K)"""
    labels: Tensor
    """(N, K) int64."""
    places: Tensor
    """(N, K) int64: positions, row by row."""
    points: Tensor
    """(N, K, 2) xy, positions."""


class CornerTowers(PlacedHead):
    """A pooling for each of two corners, then its heat map per class, its offset, what ties it to the other.

    Levels are the maps of the modules of an hourglass, each trained by itself; the last one predicts.

    Args:
        in_channels: channels of every level.
        num_classes: C.
        levels: how many.
        stride: input pixels per position.
        heat_loss: on the heat maps.
        offset_loss: on the offsets at corners.
        corners: likeliest corners of each kind from which pairs are made.
        selection: which pairs become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        levels: int,
        stride: int,
        heat_loss: Loss,
        offset_loss: Loss,
        corners: int,
        selection: Selection,
    ) -> None:
        super().__init__()
        self.in_channels = self.channels = in_channels
        self.num_classes = num_classes
        self.strides = (stride,) * levels
        self.heat_loss, self.offset_loss = heat_loss, offset_loss
        self.corners, self.selection = corners, selection
        for side, directions in SIDES.items():
            pools = nn.ModuleList(CornerPooling(in_channels, directions) for _ in range(levels))
            self.add_module(f"{side}_pool", pools)
            self.add_branches(f"{side}_heat", num_classes, bias=prior_bias(0.1))
            self.add_branches(f"{side}_off", 2)

    def add_branches(
        self, name: str, out_channels: int, *, bias: float | None = None, he: bool = True
    ) -> None:
        """Two convolutions for each level.

        Args:
            name: of the list of them.
            out_channels: of the second.
            bias: initial bias of the second.
            he: start the first from He et al.'s weights. The second keeps torch's: 0.2 AP, says mmdetection.
        """
        levels = nn.ModuleList()
        for _ in self.strides:
            hidden = ConvNormAct(self.channels, self.channels, 3, padding=1)
            if he:
                init_conv(hidden, kind="kaiming")
            last = ConvNormAct(self.channels, out_channels, 1, act=None)
            if bias is not None:
                nn.init.constant_(last.get_parameter("conv.bias"), bias)
            levels.append(nn.Sequential(hidden, last))
        self.add_module(name, levels)

    @abstractmethod
    def ties(self, side: str, level: int, pooled: Tensor) -> tuple[Tensor, ...]:
        """``CornerMaps.ties`` of a corner from its pooled features (N, C_in, H, W)."""

    @abstractmethod
    def tie_losses(self, pair: CornerPair, targets: CornerTargets) -> dict[str, Tensor]:
        """Named losses of one level's ties."""

    @abstractmethod
    def tied(self, pair: CornerPair, found: tuple[Found, Found], boxes: Tensor, frame: Frame) -> Tensor:
        """(N, K, K) bool: whether a first and a second corner belong to one object.

        ``boxes`` are the pairs' (N, K, K, 4) xyxy, pixels; of those without area anything may be said.
        """

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {
            f"{side}_heat.{level}.1.conv.{name}": ClassRows()
            for side in SIDES
            for level in range(len(self.strides))
            for name in ("weight", "bias")
        }

    def forward(self, maps: Sequence[Tensor]) -> list[CornerPair]:
        """Levels (N, C_in, H, W) -> the maps of both corners for each."""
        return [(self._corner("tl", i, m), self._corner("br", i, m)) for i, m in enumerate(maps)]

    def _corner(self, side: str, level: int, x: Tensor) -> CornerMaps:
        pooled = self.branch(f"{side}_pool", level)(x)
        heat = self.branch(f"{side}_heat", level)(pooled).float()
        offset = self.branch(f"{side}_off", level)(pooled).float()
        return CornerMaps(heat, offset, self.ties(side, level, pooled))

    def branch(self, name: str, level: int) -> nn.Module:
        """The part of that name for a level."""
        return self.get_submodule(f"{name}.{level}")

    def loss(
        self, outputs: list[CornerPair], batch: Batch, canvas: Canvas | None = None
    ) -> dict[str, Tensor]:
        """``loss_heatmap``, ``loss_offset`` and the ties' losses, each the sum over the levels."""
        targets = self._targets(outputs, batch, canvas)
        losses: list[dict[str, Tensor]] = []
        for pair in outputs:
            each = [
                (
                    self.heat_loss(maps.heat.sigmoid(), marks.heat, avg_factor=targets.peaks[i]),
                    self.offset_loss(marks.read(maps.offset), marks.offset, avg_factor=targets.owners[i]),
                )
                for i, (maps, marks) in enumerate(zip(pair, targets.corners))
            ]
            heat, offset = (torch.stack(both).mean() for both in zip(*each))
            losses.append({"loss_heatmap": heat, "loss_offset": offset, **self.tie_losses(pair, targets)})
        return {name: torch.stack([level[name] for level in losses]).sum() for name in losses[0]}

    @torch.no_grad()
    def _targets(self, outputs: list[CornerPair], batch: Batch, canvas: Canvas | None) -> CornerTargets:
        heat = outputs[0][0].heat
        objects = pad_objects(batch.samples, heat.device)
        frame = self.frame(heat, canvas)
        first, second = (frame.positions(objects.boxes[..., i : i + 2]) for i in (0, 2))
        radii = gaussian_radius((second - first).ceil(), LEAST_OVERLAP)
        height, width = heat.shape[2:]
        corners = (
            mark(first, radii, objects, self.num_classes, (height, width)),
            mark(second, radii, objects, self.num_classes, (height, width)),
        )
        positive = [(marks.heat == 1).sum() for marks in corners]
        owners = [torch.as_tensor(len(marks.image), device=heat.device) for marks in corners]
        counts = torch.as_tensor(normalizer(torch.stack([*positive, *owners])))
        return CornerTargets(objects, torch.cat([first, second], dim=-1), corners, counts[:2], counts[2:])

    def predict(
        self, outputs: list[CornerPair], batch: Batch, canvas: Canvas | None = None
    ) -> list[Prediction]:
        """Boxes in original pixels of pairs of the likeliest corners, scored by the mean of their scores."""
        pair = outputs[-1]
        frame = self.frame(pair[0].heat, canvas)
        first, second = self._best(pair[0]), self._best(pair[1])
        k = first.scores.shape[1]
        shape = (-1, k, k, 2)
        boxes = torch.cat(
            [
                frame.pixels(first.points)[:, :, None].expand(shape),
                frame.pixels(second.points)[:, None].expand(shape),
            ],
            dim=3,
        )
        scores = (first.scores[:, :, None] + second.scores[:, None]) / 2
        valid = (first.labels[:, :, None] == second.labels[:, None]) & self.tied(
            pair, (first, second), boxes, frame
        )
        valid &= (boxes[..., 2:] > boxes[..., :2]).all(dim=3)
        kept = torch.where(valid, scores, -1.0).flatten(1)[..., None]
        image, place, _, score = top_candidates(kept, self.selection.score_threshold, self.selection.pre_nms)
        label = first.labels[image, place // k]
        candidates = Candidates(boxes.flatten(1, 2)[image, place], score, label, image)
        return self.selection.predictions([candidates], batch)

    def _best(self, maps: CornerMaps) -> Found:
        scores, labels, places = peaks(maps.heat.sigmoid(), self.corners)
        points = place_positions(places, maps.heat.shape[3]) + at_places(maps.offset, places)
        return Found(scores, labels, places, points)


class CornerPooling(nn.Module):
    """The sum of two corner poolings of convolved features beside a shortcut: a residual block.

    Args:
        channels: of input and output.
        directions: of the poolings.
    """

    def __init__(self, channels: int, directions: tuple[Direction, Direction]) -> None:
        super().__init__()
        self.directions = directions
        inner = 128
        self.direction1_conv = ConvNormAct(channels, inner, 3, padding=1, norm="bn")
        self.direction2_conv = ConvNormAct(channels, inner, 3, padding=1, norm="bn")
        self.aftpool_conv = ConvNormAct(inner, channels, 3, padding=1, norm="bn", act=None)
        self.conv1 = ConvNormAct(channels, channels, 1, norm="bn", act=None)
        self.conv2 = ConvNormAct(channels, channels, 3, padding=1, norm="bn")
        init_conv(self, kind="kaiming")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same."""
        convs = (self.direction1_conv, self.direction2_conv)
        first, second = (corner_pool(conv(x), direction=d) for conv, d in zip(convs, self.directions))
        return self.conv2((self.aftpool_conv(first + second) + self.conv1(x)).relu())
