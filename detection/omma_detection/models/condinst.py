"""CondInst (Tian et al., Conditional Convolutions for Instance Segmentation, 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.layers import NormKind
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import mask_centres
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.fcos import FCOSHead
from omma_detection.models.heads.dense import map_sizes
from omma_detection.models.heads.dynamic_masks import DynamicMaskHead, MaskOutputs, Priors, thin_masks
from omma_detection.models.heads.region import bitmaps
from omma_detection.models.single_stage import SingleStageDetector


@register
class CondInst(SingleStageDetector):
    """FCOS, whose points also give the weights of a small network that draws their object's mask.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the point head; its ``kernel_channels`` are the weights that ``mask_head`` takes.
        mask_head: the features that masks are drawn on, and what masks learn from.
        preprocessor: images to network input.
    """

    bbox_head: FCOSHead

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck,
        bbox_head: FCOSHead,
        mask_head: DynamicMaskHead,
        preprocessor: Preprocessor,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)
        if bbox_head.kernel_channels != mask_head.network.num_weights:
            raise ValueError(
                f"bbox_head.kernel_channels is {bbox_head.kernel_channels}, "
                f"mask_head takes {mask_head.network.num_weights}"
            )
        if (mask_head.in_channels, mask_head.stride) != (bbox_head.in_channels, bbox_head.strides[0]):
            raise ValueError(
                f"the finest level has {bbox_head.in_channels} channels and stride {bbox_head.strides[0]}, "
                f"mask_head expects {mask_head.in_channels} and {mask_head.stride}"
            )
        if mask_head.levels > len(bbox_head.strides):
            raise ValueError(f"mask_head takes {mask_head.levels} levels of {len(bbox_head.strides)}")
        self.mask_head = mask_head

    def forward(self, images: Tensor | Sequence[Tensor]) -> MaskOutputs:
        """Raw maps of both heads for uint8 RGB images."""
        maps = self.features(images)
        return MaskOutputs(self.bbox_head(maps), self.mask_head(maps))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of both heads."""
        outputs = self.forward(batch.images)
        owners = self.assign(outputs, batch)
        losses = self.bbox_head.point_losses(outputs.points, batch, owners)
        return losses | self.mask_head.loss(outputs, self.priors(outputs), owners, batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Boxes and masks in original pixels."""
        outputs = self.forward(batch.images)
        levels = self.bbox_head.candidates(outputs.points, batch)
        found = self.bbox_head.selection.found(levels, batch)
        return self.mask_head.predict(outputs, self.priors(outputs), found, batch)

    def assign(self, outputs: MaskOutputs, batch: Batch) -> Tensor:
        """(N, P) int64: number of the object that each point has, -1 for none."""
        return self.bbox_head.assign(outputs.points, batch, self.mask_head.centres(batch))

    def priors(self, outputs: MaskOutputs) -> Priors:
        """The points of the box head's maps."""
        maps = outputs.points.logits
        return Priors(*self.bbox_head.points.placed(map_sizes(maps), maps[0].device))


@register
class CondInstMaskHead(DynamicMaskHead):
    """Masks that learn from masks.

    Args:
        in_channels: channels of every level.
        channels: width of the layers that make the features.
        num_convs: convolutions after the levels are joined.
        levels: finest levels that are joined.
        stride: input pixels per position of the finest level.
        features: channels of the features that masks are drawn on.
        mask_channels: width of the network that draws masks.
        mask_layers: number of its layers.
        mask_loss: on the mask logits of points with an object.
        max_masks: points of each image that enter the loss, drawn at random.
        norm: kind of norm of the features' layers.
        threshold: probability above which a pixel is in the mask.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 128,
        num_convs: int = 4,
        levels: int = 3,
        stride: int = 8,
        features: int = 8,
        mask_channels: int = 8,
        mask_layers: int = 3,
        mask_loss: Loss,
        max_masks: int = 300,
        norm: NormKind = "bn",
        threshold: float = 0.5,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            levels=levels,
            stride=stride,
            features=features,
            mask_channels=mask_channels,
            mask_layers=mask_layers,
            mask_loss=mask_loss,
            norm=norm,
            threshold=threshold,
        )
        self.max_masks = max_masks

    def centres(self, batch: Batch) -> list[Tensor]:
        """Those of the masks, which lie in objects more often than those of their boxes."""
        return [mask_centres(bitmaps(sample)) for sample in batch.samples]

    def loss(self, outputs: MaskOutputs, priors: Priors, owners: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``loss_mask``."""
        chosen = [(own >= 0).nonzero()[:, 0] for own in owners]
        chosen = [
            own[torch.randperm(len(own), device=own.device)[: self.max_masks]]
            if len(own) > self.max_masks
            else own
            for own in chosen
        ]
        counts = torch.tensor([len(own) for own in chosen], device=owners.device)
        image = torch.arange(len(owners), device=owners.device).repeat_interleave(counts)
        logits = self.logits(outputs, priors, image, torch.cat(chosen))
        size = (logits.shape[1], logits.shape[2])
        targets = torch.cat(
            [
                thin_masks(sample, size)[own[points]]
                for sample, own, points in zip(batch.samples, owners, chosen)
            ]
        )
        return {"loss_mask": self.mask_loss(logits, targets, avg_factor=normalizer(len(logits)))}
