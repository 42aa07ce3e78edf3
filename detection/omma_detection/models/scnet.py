"""SCNet (Vu et al., SCNet: Training Inference Sample Consistency for Instance Segmentation, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import init_conv
from omma.losses import Loss
from omma.registry import register
from omma.structures import Batch, Sample
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.heads.bbox_head import BBoxHead
from omma_detection.models.heads.cascade_roi_head import CascadeRoIHead
from omma_detection.models.heads.mask_head import MaskHead
from omma_detection.models.heads.region import Regions, mask_targets, positive_rois
from omma_detection.models.heads.roi_extractor import RoIExtractor, boxes_to_rois
from omma_detection.models.heads.semantic import FusedSemanticHead, residual_tower
from omma_detection.models.samplers import BoxSampler


class Context(NamedTuple):
    """What the features of all regions have added."""

    semantic: Tensor
    """(N, C, H, W)"""
    whole: Tensor
    """(N, C, 1, 1), of the whole image."""


@register
class SCNetRoIHead(CascadeRoIHead):
    """A cascade of boxes whose one mask head sees the last boxes, their features, and the whole image.

    Args:
        assigners: which proposals of each step are objects.
        sampler: which proposals enter the losses.
        stage_weights: of each step's losses; the masks' is their sum.
        bbox_roi_extractor: features for the box heads.
        bbox_head: class and box, one head for each step.
        mask_roi_extractor: features for the mask head.
        mask_head: masks.
        semantic_roi_extractor: of the semantic head's features.
        semantic_head: segmentation of the whole image.
        glbctx_head: which classes are in the image.
        feat_relay_head: from the box head's features to those of the mask head.
    """

    def __init__(
        self,
        *,
        assigners: tuple[MaxIoUAssigner, ...],
        sampler: BoxSampler,
        stage_weights: tuple[float, ...] = (1.0, 0.5, 0.25),
        bbox_roi_extractor: RoIExtractor,
        bbox_head: tuple[BBoxHead, ...],
        mask_roi_extractor: RoIExtractor,
        mask_head: SCNetMaskHead,
        semantic_roi_extractor: RoIExtractor,
        semantic_head: FusedSemanticHead,
        glbctx_head: GlobalContextHead,
        feat_relay_head: FeatureRelayHead,
    ) -> None:
        super().__init__(
            assigners=assigners,
            sampler=sampler,
            stage_weights=stage_weights,
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
        )
        self.mask_roi_extractor, self.mask_head = mask_roi_extractor, mask_head
        # In tuples, for they have their places in the tree of modules already.
        self.last_bbox_head, self.masks = (bbox_head[-1],), (mask_head,)
        self.semantic_roi_extractor, self.semantic_head = semantic_roi_extractor, semantic_head
        self.glbctx_head, self.feat_relay_head = glbctx_head, feat_relay_head

    def pooled(self) -> list[tuple[str, int, RoIExtractor]]:
        """The places of the box heads and of the mask head."""
        places = [("bbox", head.in_channels, self.bbox_roi_extractor) for head in self.last_bbox_head]
        assert self.mask_roi_extractor is not None
        return [*places, ("mask", self.masks[0].in_channels, self.mask_roi_extractor)]

    @property
    def mask_threshold(self) -> float:
        """Probability from which a pixel is in the mask."""
        return self.masks[0].threshold

    def context(self, maps: Sequence[Tensor]) -> Context:
        """Semantic features, and those of the whole image."""
        return Context(self.semantic_head(maps)[1], self.glbctx_head(maps)[1])

    def context_loss(self, maps: Sequence[Tensor], batch: Batch) -> tuple[Context, dict[str, Tensor]]:
        """The context with ``loss_semantic_seg`` and ``loss_glbctx``."""
        classes, semantic = self.semantic_head(maps)
        present, whole = self.glbctx_head(maps)
        losses = self.semantic_head.loss(classes, batch.samples, self.semantic_roi_extractor.strides[0])
        return Context(semantic, whole), losses | self.glbctx_head.loss(present, batch.samples)

    def forward(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> tuple[Tensor, ...]:
        """Logits averaged over the steps, the last step's deltas, and logits of masks in the last rois.

        There are no mask heads whose probabilities would have to be averaged.
        """
        context = self.context(maps)
        outputs, rois = self.run_stages(maps, boxes_to_rois(proposals), sizes, context)
        return *outputs, self._masks(maps, rois, context)

    def loss(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Losses of all steps, of the masks, and of both heads on the whole image."""
        context, losses = self.context_loss(maps, batch)
        regions: list[Regions] = []
        for stage, weight in enumerate(self.stage_weights):
            found, regions, proposals = self.box_stage(stage, maps, proposals, batch, context)
            losses |= {f"s{stage}.{name}": weight * value for name, value in found.items()}
        logits = self._masks(maps, positive_rois(regions), context)
        found = self.masks[0].loss(logits, *mask_targets(regions, batch, logits.shape[-1]))
        return losses | {name: sum(self.stage_weights) * value for name, value in found.items()}

    def box_features(self, maps: Sequence[Tensor], rois: Tensor, context: Context) -> Tensor:
        """Pooled from the pyramid and the semantic features, and the whole image's."""
        return self._with(super().box_features(maps, rois, context), rois, context)

    def mask_features(self, maps: Sequence[Tensor], rois: Tensor, context: Context) -> Tensor:
        """Likewise."""
        return self._with(super().mask_features(maps, rois, context), rois, context)

    def mask_probabilities(self, maps: Sequence[Tensor], rois: Tensor, context: Context) -> Tensor:
        """(R, C, M, M)."""
        return self._masks(maps, rois, context).float().sigmoid()

    def _masks(self, maps: Sequence[Tensor], rois: Tensor, context: Context) -> Tensor:
        """Mask logits (R, C, M, M) of rois (R, 5)."""
        relayed = self.last_bbox_head[0].shared(self.box_features(maps, rois, context))
        features = self.mask_features(maps, rois, context) + self.feat_relay_head(relayed)
        return self.masks[0](features)

    def _with(self, features: Tensor, rois: Tensor, context: Context) -> Tensor:
        semantic = self.semantic_roi_extractor([context.semantic], rois)
        if semantic.shape[-2:] != features.shape[-2:]:
            semantic = F.adaptive_avg_pool2d(semantic, (features.shape[-2], features.shape[-1]))
        return features + semantic + context.whole[rois[:, 0].long()]


@register
class SCNetMaskHead(MaskHead):
    """A mask head of pairs of convolutions beside shortcuts.

    Args:
        in_channels: channels of a region's features.
        num_convs: number of convolutions, two for each pair.
        num_classes: C.
        loss: on the logits of the object's class.
        threshold: probability from which a pixel is in the mask.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        num_convs: int = 12,
        num_classes: int,
        loss: Loss,
        threshold: float = 0.5,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=in_channels,
            num_convs=1,
            num_classes=num_classes,
            loss=loss,
            threshold=threshold,
        )
        self.convs = residual_tower(in_channels, num_convs // 2)
        init_conv(self.convs, kind="kaiming")


@register
class GlobalContextHead(nn.Module):
    """Which classes an image has, from the coarsest level.

    Args:
        in_channels: channels of every level.
        num_convs: convolutions, two for each pair beside a shortcut.
        num_classes: C.
        loss_weight: factor of the loss.
    """

    def __init__(
        self, *, in_channels: int = 256, num_convs: int = 4, num_classes: int, loss_weight: float = 3.0
    ) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.convs = residual_tower(in_channels, num_convs // 2)
        self.fc = nn.Linear(in_channels, num_classes)
        init_conv(self.convs, kind="kaiming")
        init_conv(self.fc, std=0.01)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"fc.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Levels -> class logits (N, C) and features (N, C_in, 1, 1)."""
        x = maps[-1]
        for conv in self.convs:
            x = conv(x)
        x = x.mean(dim=(2, 3), keepdim=True)
        return self.fc(x.flatten(1)), x

    def loss(self, logits: Tensor, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """``loss_glbctx`` of logits (N, C) against the classes of the objects."""
        target = torch.zeros_like(logits, dtype=torch.float32)
        for row, sample in zip(target, samples):
            row[sample["labels"]] = 1
        with torch.autocast(logits.device.type, enabled=False):
            value = F.binary_cross_entropy_with_logits(logits.float(), target)
        return {"loss_glbctx": self.loss_weight * value}


@register
class FeatureRelayHead(nn.Module):
    """From what a box is read from to a map that is added to the mask head's.

    Args:
        fc_channels: D of the box head's last shared layer.
        out_channels: channels of a region's features.
        roi_size: height and width of the map before it is doubled.
    """

    def __init__(self, *, fc_channels: int = 1024, out_channels: int = 256, roi_size: int = 7) -> None:
        super().__init__()
        self.roi_size = roi_size
        self.fc = nn.Linear(fc_channels, out_channels * roi_size**2)
        init_conv(self.fc, kind="xavier")

    def forward(self, features: Tensor) -> Tensor:
        """(R, D) -> (R, out_channels, 2 S, 2 S)."""
        x = self.fc(features).unflatten(1, (-1, self.roi_size, self.roi_size))
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
