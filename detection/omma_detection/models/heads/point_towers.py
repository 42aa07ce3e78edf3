"""The network of FCOS's head and what it predicts, whatever it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from omma.layers import NormKind, Scale, init_conv, prior_bias
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders import distances_to_boxes
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import Candidates, Encoded, Selection, image_sizes
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.priors import PointGenerator


class PointOutputs(NamedTuple):
    """Raw maps per level."""

    logits: list[Tensor]
    """(N, C, H, W)"""
    distances: list[Tensor]
    """(N, 4, H, W) left, top, right, bottom, input pixels."""
    centerness: list[Tensor]
    """(N, 1, H, W) logits."""
    kernels: list[Tensor]
    """(N, D, H, W) weights of networks that draw masks; no levels where there are none."""


class PointTowers(DenseHead):
    """Two towers, then class scores, distances to the box's sides and centre-ness at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        norm: kind of norm in the towers.
        conv_bias: bias of the towers' convolutions; null: only without norm.
        deform_last: the towers' last convolutions are deformable, modulated.
        centerness_on_reg: predict centre-ness from the box tower.
        norm_on_bbox: regress distances in strides through a ReLU instead of pixels through exp.
        selection: which boxes become predictions.
        kernel_channels: D, weights that every position gives from the box tower; 0: none.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int,
        num_classes: int,
        points: PointGenerator,
        norm: NormKind | None,
        conv_bias: bool | None,
        deform_last: bool,
        centerness_on_reg: bool,
        norm_on_bbox: bool,
        selection: Selection,
        kernel_channels: int = 0,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = points.strides
        self.num_classes = num_classes
        self.points, self.selection = points, selection
        self.centerness_on_reg, self.norm_on_bbox = centerness_on_reg, norm_on_bbox
        deform: dict[int, Literal[1, 2]] = {num_convs - 1: 2} if deform_last else {}
        self.cls_convs = self.tower(in_channels, channels, num_convs, norm, conv_bias, deform)
        self.reg_convs = self.tower(in_channels, channels, num_convs, norm, conv_bias, deform)
        self.conv_cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.conv_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.conv_centerness = nn.Conv2d(channels, 1, 3, padding=1)
        self.kernel_channels = kernel_channels
        if kernel_channels:
            self.controller = nn.Conv2d(channels, kernel_channels, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in points.strides)
        init_conv(self, std=0.01)
        init_conv(self.conv_cls, std=0.01, bias=prior_bias(0.01))

    def tower(
        self,
        in_channels: int,
        channels: int,
        count: int,
        norm: NormKind | None,
        bias: bool | None,
        deform: dict[int, Literal[1, 2]],
    ) -> nn.Sequential:
        """One of the two towers."""
        return conv_tower(in_channels, channels, count, norm=norm, bias=bias, deform=deform)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"conv_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> PointOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits, distances, centre-ness logits and kernels per level."""
        outputs = PointOutputs([], [], [], [])
        for m, stride, scale in zip(maps, self.strides, self.scales):
            cls, reg = self.cls_convs(m), self.reg_convs(m)
            distance = scale(self.conv_reg(reg)).float()
            outputs.logits.append(self.conv_cls(cls))
            outputs.distances.append(distance.relu() * stride if self.norm_on_bbox else distance.exp())
            outputs.centerness.append(self.conv_centerness(reg if self.centerness_on_reg else cls))
            if self.kernel_channels:
                outputs.kernels.append(self.controller(reg))
        return outputs

    def predict(self, outputs: PointOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels, scored by class probability times centre-ness."""
        return self.selection.predictions(self.candidates(outputs, batch), batch)

    def candidates(self, outputs: PointOutputs, batch: Batch) -> list[Candidates]:
        """Scored boxes of each level, in transformed pixels; their places count over all levels."""
        sizes = image_sizes(batch, outputs.logits[0].device)
        levels, first = [], 0
        grid = self.grid(outputs.logits)
        for points, cls, reg, ctr in zip(grid, outputs.logits, outputs.distances, outputs.centerness):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = Encoded(distances_to_boxes, points, flatten_levels([reg], 4))
            quality = flatten_levels([ctr], 1)[..., 0].float().sigmoid()
            levels.append(self.selection.candidates(scores, boxes, sizes, quality, first))
            first += len(points)
        return levels

    def grid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Points (H * W, 2) of each level."""
        return self.points.grid(map_sizes(maps), maps[0].device)

    def point_strides(self, grid: Sequence[Tensor]) -> Tensor:
        """Stride (P,) of each of the points of all levels."""
        return torch.cat([g.new_full((len(g),), float(s)) for g, s in zip(grid, self.strides)])
