"""SOLO (Wang et al., SOLO: Segmenting Objects by Locations, 2019)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.layers import NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.assigners import CenterCellAssigner
from omma_detection.models.heads.cell_head import (
    MASK_STRIDE,
    CellHead,
    Labelled,
    coordinates,
    level_maps,
    peaks,
    shrink,
)
from omma_detection.models.heads.dense import conv_tower
from omma_detection.models.heads.mask_selection import DEFAULT_MASK_SELECTION, MaskSelection
from omma_detection.models.heads.region import bitmaps
from omma_detection.models.single_stage import SingleStageSegmenter


class SOLOOutputs(NamedTuple):
    """Maps for each grid."""

    masks: list[tuple[Tensor, ...]]
    """A cell's mask is the product of one channel of each: (N, S * S, H, W), or (N, S, H, W) for the columns
    and as many for the rows."""
    classes: list[Tensor]
    """(N, C, S, S)"""


@register
class SOLO(SingleStageSegmenter):
    """A pyramid, and cells that have a channel each for the mask of the object in them.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        mask_head: the head.
        preprocessor: images to network input.
    """

    mask_head: LocationHead

    def __init__(
        self, *, backbone: Backbone, neck: Neck, mask_head: LocationHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, mask_head=mask_head, preprocessor=preprocessor)

    def forward(self, images: Tensor | Sequence[Tensor]) -> SOLOOutputs:
        """Probabilities for uint8 RGB images: masks at a stride of 4, classes at their peaks only."""
        outputs = self.mask_head(self.features(images))
        size = _mask_size(outputs)
        masks = [tuple(_probable(factor, size) for factor in factors) for factors in outputs.masks]
        return SOLOOutputs(masks, _peak_scores(outputs))


class LocationHead(CellHead):
    """The tower for classes, and what is common to heads that keep a cell's mask in channels of its own.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        strides: of the levels.
        assigner: the grids, and which cells are objects.
        cls_loss: over all cells, labels with C as background.
        mask_loss: on the masks of cells with an object.
        norm: kind of norm in the towers.
        selection: which masks become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int,
        num_classes: int,
        strides: tuple[int, ...],
        assigner: CenterCellAssigner,
        cls_loss: Loss,
        mask_loss: Loss,
        norm: NormKind,
        selection: MaskSelection,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            strides=strides,
            num_classes=num_classes,
            assigner=assigner,
            cls_loss=cls_loss,
            mask_loss=mask_loss,
            selection=selection,
        )
        self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.conv_cls = nn.Conv2d(channels, num_classes, 3, padding=1)

    @abstractmethod
    def mask_logits(self, level: int, m: Tensor) -> tuple[Tensor, ...]:
        """The maps that a level's masks are products of, as logits, at twice the size of (N, C_in, H, W)."""

    @abstractmethod
    def channels_of(self, cells: Tensor, grid: int) -> tuple[Tensor, ...]:
        """The channel of each of these maps that the mask of a cell of a grid is made of."""

    def forward(self, maps: Sequence[Tensor]) -> SOLOOutputs:
        """Levels (N, C_in, H_i, W_i) -> logits."""
        outputs = SOLOOutputs([], [])
        for level, (m, grid) in enumerate(zip(level_maps(maps), self.assigner.grids)):
            outputs.masks.append(self.mask_logits(level, m))
            small = F.interpolate(m, size=(grid, grid), mode="bilinear", align_corners=False)
            outputs.classes.append(self.conv_cls(self.cls_convs(small)))
        return outputs

    def loss(self, outputs: SOLOOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_mask`` and ``loss_cls``."""
        height, width = _mask_size(outputs)
        padded = (height * MASK_STRIDE, width * MASK_STRIDE)
        labelled = self.assign(batch, padded, outputs.classes[0].device)
        return {
            "loss_mask": self._mask_loss(outputs, labelled, batch),
            "loss_cls": self.class_loss(outputs.classes, labelled),
        }

    def _mask_loss(self, outputs: SOLOOutputs, labelled: Labelled, batch: Batch) -> Tensor:
        owners = labelled.cells.owners
        count = normalizer((owners >= 0).sum())
        grids = self.assigner.grids
        losses = []
        levels = zip(outputs.masks, owners.split([grid**2 for grid in grids], dim=1), grids)
        for stride, (factors, own, grid) in zip(self.level_strides, levels):
            image, cell = (own >= 0).nonzero(as_tuple=True)
            chosen = [f[image, channel] for f, channel in zip(factors, self.channels_of(cell, grid))]
            masks = chosen[0] if len(chosen) == 1 else chosen[0].sigmoid() * chosen[1].sigmoid()
            size = (masks.shape[1], masks.shape[2])
            targets = [
                shrink(bitmaps(sample), stride // 2, size)[objects[objects >= 0]]
                for sample, objects in zip(batch.samples, own)
            ]
            losses.append(self.mask_loss(masks, torch.cat(targets), avg_factor=count))
        return torch.stack(losses).sum()

    def predict(self, outputs: SOLOOutputs, batch: Batch) -> list[Prediction]:
        """Masks in original pixels, and the boxes around them."""
        return self.masks_of_scored(outputs, _peak_scores(outputs), batch)

    def masks_at(self, outputs: SOLOOutputs, image: int, cells: Tensor) -> Tensor:
        """Probabilities (K, H, W) of the masks of an image's cells (K,), which rise."""
        size, masks, first = _mask_size(outputs), [], 0
        for factors, grid in zip(outputs.masks, self.assigner.grids):
            own = cells[(cells >= first) & (cells < first + grid**2)] - first
            channels = self.channels_of(own, grid)
            parts = [_probable(f[image, c][None], size)[0] for f, c in zip(factors, channels)]
            masks.append(torch.stack(parts).prod(dim=0))
            first += grid**2
        return torch.cat(masks)


@register
class SOLOHead(LocationHead):
    """On each level one tower for classes and one for masks, with a channel for each cell.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        strides: of the levels.
        assigner: the grids, and which cells are objects.
        cls_loss: over all cells, labels with C as background.
        mask_loss: on the mask logits of cells with an object.
        norm: kind of norm in the towers.
        selection: which masks become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 7,
        num_classes: int,
        strides: tuple[int, ...] = (4, 8, 16, 32, 64),
        assigner: CenterCellAssigner,
        cls_loss: Loss,
        mask_loss: Loss,
        norm: NormKind = "gn",
        selection: MaskSelection = DEFAULT_MASK_SELECTION,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            strides=strides,
            assigner=assigner,
            cls_loss=cls_loss,
            mask_loss=mask_loss,
            norm=norm,
            selection=selection,
        )
        self.mask_convs = conv_tower(in_channels + 2, channels, num_convs, norm=norm)
        self.conv_mask_list = nn.ModuleList(nn.Conv2d(channels, grid**2, 1) for grid in assigner.grids)
        init_conv(self, std=0.01)
        for last in (self.conv_mask_list, self.conv_cls):
            init_conv(last, std=0.01, bias=prior_bias(0.01))

    def mask_logits(self, level: int, m: Tensor) -> tuple[Tensor, ...]:
        """(N, S * S, 2 H, 2 W), one map."""
        x = self.mask_convs(torch.cat([m, coordinates(m)], dim=1))
        return (self.conv_mask_list[level](_double(x)),)

    def channels_of(self, cells: Tensor, grid: int) -> tuple[Tensor, ...]:
        """A cell's number."""
        return (cells,)


@register
class DecoupledSOLOHead(LocationHead):
    """On each level a tower for classes, one for the columns of the grid and one for its rows.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        strides: of the levels.
        assigner: the grids, and which cells are objects.
        cls_loss: over all cells, labels with C as background.
        mask_loss: on the mask probabilities of cells with an object.
        one_tower: columns and rows come from the same tower (the light form).
        norm: kind of norm in the towers.
        selection: which masks become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 7,
        num_classes: int,
        strides: tuple[int, ...] = (4, 8, 16, 32, 64),
        assigner: CenterCellAssigner,
        cls_loss: Loss,
        mask_loss: Loss,
        one_tower: bool = False,
        norm: NormKind = "gn",
        selection: MaskSelection = DEFAULT_MASK_SELECTION,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            strides=strides,
            assigner=assigner,
            cls_loss=cls_loss,
            mask_loss=mask_loss,
            norm=norm,
            selection=selection,
        )
        self.one_tower = one_tower
        if one_tower:
            self.mask_convs = conv_tower(in_channels + 2, channels, num_convs, norm=norm)
        else:
            self.mask_convs_x = conv_tower(in_channels + 1, channels, num_convs, norm=norm)
            self.mask_convs_y = conv_tower(in_channels + 1, channels, num_convs, norm=norm)
        self.conv_mask_list_x, self.conv_mask_list_y = (
            nn.ModuleList(nn.Conv2d(channels, grid, 3, padding=1) for grid in assigner.grids)
            for _ in range(2)
        )
        init_conv(self, std=0.01)
        for last in (self.conv_mask_list_x, self.conv_mask_list_y, self.conv_cls):
            init_conv(last, std=0.01, bias=prior_bias(0.01))

    def mask_logits(self, level: int, m: Tensor) -> tuple[Tensor, ...]:
        """(N, S, 2 H, 2 W) for the columns, and as many for the rows."""
        place = coordinates(m)
        if self.one_tower:
            x = y = self.mask_convs(torch.cat([m, place], dim=1))
        else:
            x = self.mask_convs_x(torch.cat([m, place[:, :1]], dim=1))
            y = self.mask_convs_y(torch.cat([m, place[:, 1:]], dim=1))
        return self.conv_mask_list_x[level](_double(x)), self.conv_mask_list_y[level](_double(y))

    def channels_of(self, cells: Tensor, grid: int) -> tuple[Tensor, ...]:
        """A cell's column and row."""
        return cells % grid, cells // grid


def _double(maps: Tensor) -> Tensor:
    return F.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)


def _mask_size(outputs: SOLOOutputs) -> tuple[int, int]:
    """(H, W) of the finest masks, which all are compared and predicted at."""
    height, width = outputs.masks[0][0].shape[-2:]
    return height, width


def _probable(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Probabilities (N, C, *size) of logits (N, C, H, W)."""
    probabilities = logits.float().sigmoid()
    if not logits.shape[1]:  # Nothing can't be interpolated.
        return probabilities.new_zeros(len(logits), 0, *size)
    return F.interpolate(probabilities, size=size, mode="bilinear", align_corners=False)


def _peak_scores(outputs: SOLOOutputs) -> list[Tensor]:
    return [peaks(classes.float().sigmoid()) for classes in outputs.classes]
