"""SOLOv2 (Wang et al., SOLOv2: Dynamic and Fast Instance Segmentation, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.layers import ConvNormAct, DeformVersion, NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import dynamic_conv2d
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
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.single_stage import SingleStageSegmenter


class SOLOv2Outputs(NamedTuple):
    """Raw maps."""

    kernels: list[Tensor]
    """Per grid: (N, E, S, S), the weights of the convolution that makes a cell's mask."""
    logits: list[Tensor]
    """Per grid: (N, C, S, S)."""
    features: Tensor
    """(N, E, H, W): what these convolutions run over, at a stride of 4."""


@register
class SOLOv2(SingleStageSegmenter):
    """A pyramid, and cells whose objects' masks are convolutions of one map with kernels of their own.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        mask_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, mask_head: SOLOv2Head, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, mask_head=mask_head, preprocessor=preprocessor)


@register
class SOLOv2Head(CellHead):
    """On each grid one tower for classes and one for kernels; one map of mask features for all of them.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        strides: of the levels.
        assigner: the grids, and which cells are objects.
        cls_loss: over all cells, labels with C as background.
        mask_loss: on the mask logits of cells with an object.
        mask_channels: E, channels of the mask features.
        mask_width: width of the layers that make them.
        norm: kind of norm in the towers and in these layers.
        deform: which convolutions of the towers are deformable, modulated: all of them or each tower's last.
        deform_masks: those that make the mask features are, too.
        selection: which masks become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 512,
        num_convs: int = 4,
        num_classes: int,
        strides: tuple[int, ...] = (4, 8, 16, 32, 64),
        assigner: CenterCellAssigner,
        cls_loss: Loss,
        mask_loss: Loss,
        mask_channels: int = 256,
        mask_width: int = 128,
        norm: NormKind = "gn",
        deform: Literal["all", "last"] | None = None,
        deform_masks: bool = False,
        selection: MaskSelection = DEFAULT_MASK_SELECTION,
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
        places = {None: (), "last": (num_convs - 1,), "all": range(num_convs)}[deform]
        kinds: dict[int, DeformVersion] = dict.fromkeys(places, 2)
        self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=norm, deform=kinds)
        self.kernel_convs = conv_tower(in_channels + 2, channels, num_convs, norm=norm, deform=kinds)
        self.conv_cls = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.conv_kernel = nn.Conv2d(channels, mask_channels, 3, padding=1)
        self.mask_feature_head = MaskFeatures(
            in_channels, mask_width, mask_channels, norm=norm, deform=2 if deform_masks else None
        )
        init_conv(self, std=0.01)
        init_conv(self.conv_cls, std=0.01, bias=prior_bias(0.01))

    def forward(self, maps: Sequence[Tensor]) -> SOLOv2Outputs:
        """Levels (N, C_in, H_i, W_i) -> kernels and class logits of each grid, and mask features."""
        outputs = SOLOv2Outputs([], [], self.mask_feature_head(maps))
        for m, grid in zip(level_maps(maps), self.assigner.grids):
            placed = torch.cat([m, coordinates(m)], dim=1)
            placed = F.interpolate(placed, size=(grid, grid), mode="bilinear", align_corners=False)
            outputs.kernels.append(self.conv_kernel(self.kernel_convs(placed)))
            outputs.logits.append(self.conv_cls(self.cls_convs(placed[:, :-2])))
        return outputs

    def loss(self, outputs: SOLOv2Outputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_mask`` and ``loss_cls``."""
        height, width = outputs.features.shape[-2:]
        padded = (height * MASK_STRIDE, width * MASK_STRIDE)
        labelled = self.assign(batch, padded, outputs.features.device)
        return {
            "loss_mask": self._mask_loss(outputs, labelled, batch),
            "loss_cls": self.class_loss(outputs.logits, labelled),
        }

    def _mask_loss(self, outputs: SOLOv2Outputs, labelled: Labelled, batch: Batch) -> Tensor:
        cells = labelled.cells
        kernels = flatten_levels(outputs.kernels, outputs.features.shape[1])[cells.images, cells.cells]
        counts = cells.images.bincount(minlength=len(batch)).tolist()
        logits, targets = [], []
        parts = zip(batch.samples, outputs.features, kernels.split(counts), cells.objects.split(counts))
        for sample, features, own, objects in parts:
            logits.append(_masks(features, own))
            small = shrink(bitmaps(sample), MASK_STRIDE, (features.shape[1], features.shape[2]))
            targets.append(small[objects])
        # A cell of several objects has several masks to learn, but counts once.
        count = normalizer((cells.owners >= 0).sum())
        return self.mask_loss(torch.cat(logits), torch.cat(targets), avg_factor=count)

    def predict(self, outputs: SOLOv2Outputs, batch: Batch) -> list[Prediction]:
        """Masks in original pixels, and the boxes around them."""
        scores = [peaks(logits.float().sigmoid()) for logits in outputs.logits]
        return self.masks_of_scored(outputs, scores, batch)

    def masks_at(self, outputs: SOLOv2Outputs, image: int, cells: Tensor) -> Tensor:
        """Probabilities (K, H, W) of the masks of an image's cells (K,)."""
        own = [kernels[image : image + 1] for kernels in outputs.kernels]
        kernels = flatten_levels(own, outputs.features.shape[1])[0, cells]
        return _masks(outputs.features[image], kernels).float().sigmoid()


class MaskFeatures(nn.Module):
    """The four finest levels, each brought to the size of the finest step by step, their sum, a projection.

    The coarsest of them is told where its positions are.

    Args:
        in_channels: channels of every level.
        channels: width of the layers.
        out_channels: E.
        norm: kind of norm.
        deform: version of deformable convolutions in place of the ordinary ones.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        *,
        norm: NormKind,
        deform: DeformVersion | None,
    ) -> None:
        super().__init__()
        self.convs_all_levels = nn.ModuleList()
        for level, first in enumerate((in_channels, in_channels, in_channels, in_channels + 2)):
            widths = (first, *(channels,) * (max(level, 1) - 1))
            self.convs_all_levels.append(
                nn.ModuleDict(
                    {
                        f"conv{step}": ConvNormAct(w, channels, 3, padding=1, norm=norm, deform=deform)
                        for step, w in enumerate(widths)
                    }
                )
            )
        self.conv_pred = ConvNormAct(channels, out_channels, 1, norm=norm, deform=deform)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Levels (N, C, H_i, W_i), four or more of them -> (N, E, H_0, W_0)."""
        last = len(self.convs_all_levels) - 1
        joined = []
        for level, (m, convs) in enumerate(zip(maps, self.convs_all_levels)):
            x = torch.cat([m, coordinates(m)], dim=1) if level == last else m
            for step, conv in enumerate(convs.children()):
                x = conv(x)
                if level:
                    size = maps[level - 1 - step].shape[-2:]
                    x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
            joined.append(x)
        return self.conv_pred(torch.stack(joined).sum(dim=0))


def _masks(features: Tensor, kernels: Tensor) -> Tensor:
    """Mask logits (K, H, W) of the features (E, H, W) of one image under kernels (K, E)."""
    return dynamic_conv2d(features[None], kernels[:, None, :, None, None])[:, 0]
