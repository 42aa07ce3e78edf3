"""RTMDet-Ins (Lyu et al., RTMDet: An Empirical Study of Designing Real-Time Object Detectors, 2022)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Meta, Prediction
from omma_detection.models.assigners import Assignment, DynamicSoftLabelAssigner
from omma_detection.models.heads.dense import conv_tower, map_sizes
from omma_detection.models.heads.detections import Selection
from omma_detection.models.heads.dynamic_masks import MASK_STRIDE, MaskNetwork, thin_masks
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import PointGenerator
from omma_detection.models.rtmdet import LevelTowers

INS_SELECTION = Selection(score_threshold=0.05, pre_nms=1000, nms_iou=0.6, max_per_image=100)


class RTMDetInsOutputs(NamedTuple):
    """Raw maps."""

    logits: list[Tensor]
    """Per level: (N, C, H, W)."""
    distances: list[Tensor]
    """Per level: (N, 4, H, W), input pixels."""
    kernels: list[Tensor]
    """Per level: (N, D, H, W), the weights of the layers that make an instance's mask."""
    features: Tensor
    """(N, M, H_0, W_0): what these layers run over."""


@register
class RTMDetInsSepBNHead(LevelTowers):
    """RTMDet's head with one tower for scores and distances, and small networks that draw the masks.

    Every position also gives the weights of a network of 1x1 convolutions; it sees features of the whole
    image and how far each pixel lies from the position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        assigner: which points are objects.
        cls_loss: over all points, targets the IoU of the predicted box for the object's class.
        box_loss: on the boxes of positives, weighted by that IoU.
        mask_loss: on the mask logits of positives.
        prototypes: M, channels of the features that masks are made of.
        mask_channels: width of the layers that make masks.
        mask_layers: number of these layers.
        mask_threshold: probability above which a pixel is in the mask.
        norm: kind of norm in the towers.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int = 2,
        num_classes: int,
        points: PointGenerator,
        assigner: DynamicSoftLabelAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        mask_loss: Loss,
        prototypes: int = 8,
        mask_channels: int = 8,
        mask_layers: int = 3,
        mask_threshold: float = 0.5,
        norm: NormKind = "sync_bn",
        selection: Selection = INS_SELECTION,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            points=points,
            assigner=assigner,
            cls_loss=cls_loss,
            box_loss=box_loss,
            one_tower=True,
            norm=norm,
            selection=selection,
        )
        if points.strides[0] % MASK_STRIDE:
            raise ValueError(f"the first stride must be a multiple of {MASK_STRIDE}, got {points.strides[0]}")
        self.mask_loss, self.mask_threshold = mask_loss, mask_threshold
        self.network = MaskNetwork(features=prototypes, channels=mask_channels, layers=mask_layers)
        self.kernel_convs = nn.ModuleList(
            conv_tower(in_channels, channels, num_convs, norm=norm, act="silu") for _ in points.strides
        )
        self.rtm_kernel = nn.ModuleList(
            nn.Conv2d(channels, self.network.num_weights, 1) for _ in points.strides
        )
        self.mask_head = MaskFeatures(in_channels, channels, prototypes, len(points.strides), norm=norm)
        init_conv(self, std=0.01)
        init_conv(self.rtm_cls, std=0.01, bias=prior_bias(0.01))
        init_conv(self.rtm_reg, std=0.01, bias=1)

    def forward(self, maps: Sequence[Tensor]) -> RTMDetInsOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits, distances and kernels per level, and features."""
        outputs = RTMDetInsOutputs([], [], [], self.mask_head(maps))
        for i, (m, stride) in enumerate(zip(maps, self.strides)):
            x = self.cls_convs[i](m)
            outputs.logits.append(self.rtm_cls[i](x))
            outputs.distances.append(self.rtm_reg[i](x).float().relu() * stride)
            outputs.kernels.append(self.rtm_kernel[i](self.kernel_convs[i](m)))
        return outputs

    def loss(self, outputs: RTMDetInsOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox`` and ``loss_mask``."""
        objects = pad_objects(batch.samples, outputs.features.device)
        losses, assigned = self.point_losses((outputs.logits, outputs.distances), objects)
        image, prior = assigned.positive.nonzero(as_tuple=True)
        points, strides = self.points.placed(map_sizes(outputs.logits), image.device)
        kernels = flatten_levels(outputs.kernels, outputs.kernels[0].shape[1])[image, prior]
        logits = self.masks(outputs.features[image], kernels, points[prior], strides[prior])
        factor = self.strides[0] // MASK_STRIDE
        # One more, that is dropped again: no instance at all can't be interpolated.
        padded = F.pad(logits, (0, 0, 0, 0, 0, 0, 0, 1))
        logits = F.interpolate(padded, scale_factor=factor, mode="bilinear", align_corners=False)[:-1, 0]
        targets = _mask_targets(batch, assigned, (logits.shape[1], logits.shape[2]))
        losses["loss_mask"] = self.mask_loss(logits, targets, avg_factor=normalizer(len(logits)))
        return losses

    def predict(self, outputs: RTMDetInsOutputs, batch: Batch) -> list[Prediction]:
        """Boxes and masks in original pixels."""
        levels = self.candidates((outputs.logits, outputs.distances), batch)
        points, strides = self.points.placed(map_sizes(outputs.logits), outputs.features.device)
        kernels = flatten_levels(outputs.kernels, outputs.kernels[0].shape[1])
        predictions = []
        for i, (found, meta) in enumerate(zip(self.selection.found(levels, batch), batch.metas)):
            places = found.places
            assert places is not None
            logits = self.masks(
                outputs.features[i : i + 1], kernels[i, places], points[places], strides[places]
            )
            masks = _enlarge(logits, self.strides[0], meta) > self.mask_threshold
            predictions.append(
                Prediction(boxes=found.boxes, scores=found.scores, labels=found.labels, masks=masks)
            )
        return predictions

    def masks(self, features: Tensor, kernels: Tensor, points: Tensor, strides: Tensor) -> Tensor:
        """Mask logits (R, 1, H, W) of R instances.

        Args:
            features: (R, M, H, W), or (1, M, H, W) if all are of one image.
            kernels: (R, D), the weights of all layers and then their biases.
            points: (R, 2) xy of the instances, pixels.
            strides: (R,) of the levels that they were found on.
        """
        sizes = [(features.shape[-2], features.shape[-1]), *((1, 1),) * (len(self.strides) - 1)]
        grid = self.points.grid(sizes, features.device)[0]
        return self.network(features, kernels, points, strides, grid)


class MaskFeatures(nn.Module):
    """All levels at the size of the finest, joined, four convolutions and a projection."""

    def __init__(
        self, in_channels: int, channels: int, prototypes: int, levels: int, *, norm: NormKind
    ) -> None:
        super().__init__()
        self.fusion_conv = nn.Conv2d(levels * in_channels, in_channels, 1)
        self.stacked_convs = conv_tower(in_channels, channels, 4, norm=norm, act="silu")
        self.projection = nn.Conv2d(channels, prototypes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Levels (N, C, H_i, W_i) -> (N, M, H_0, W_0)."""
        size = maps[0].shape[-2:]
        rest = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps[1:]]
        return self.projection(self.stacked_convs(self.fusion_conv(torch.cat([maps[0], *rest], dim=1))))


def _mask_targets(batch: Batch, assigned: Assignment, size: tuple[int, int]) -> Tensor:
    """(R, H, W) masks of the objects of all positives, every fourth pixel, image by image."""
    return torch.cat(
        [
            thin_masks(sample, size)[objects[objects >= 0]]
            for sample, objects in zip(batch.samples, assigned.objects)
        ]
    )


def _enlarge(logits: Tensor, stride: int, meta: Meta) -> Tensor:
    """Probabilities (R, H, W) in original pixels of mask logits (R, 1, h, w) at a stride."""
    if not len(logits):
        return logits.new_zeros(0, meta.height, meta.width)
    logits = F.interpolate(logits, scale_factor=stride, mode="bilinear", align_corners=False)
    size = [math.ceil(n / s) for n, s in zip(logits.shape[-2:], reversed(meta.scale))]
    logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    return logits[:, 0, : meta.height, : meta.width].sigmoid()
