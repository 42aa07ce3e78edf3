"""Hybrid Task Cascade (Chen et al., Hybrid Task Cascade for Instance Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind, init_conv
from omma.losses import Loss
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.heads.cascade_roi_head import CascadeRoIHead
from omma_detection.models.heads.mask_head import MaskHead
from omma_detection.models.heads.region_box_head import RegionBoxHead
from omma_detection.models.heads.roi_extractor import RoIExtractor
from omma_detection.models.heads.semantic import FusedSemanticHead
from omma_detection.models.samplers import BoxSampler


@register
class HybridTaskCascadeRoIHead(CascadeRoIHead):
    """A cascade whose mask heads see the boxes of their step, the mask features before, and semantics.

    Args:
        assigners: which proposals of each step are objects.
        sampler: which proposals enter the losses.
        stage_weights: of each step's losses.
        bbox_roi_extractor: features for the box heads.
        bbox_head: class and box, one head for each step.
        mask_roi_extractor: features for the mask heads.
        mask_head: masks, one head for each step.
        semantic_roi_extractor: of the semantic head's features.
        semantic_head: segmentation of the whole image; null: without.
        interleaved: mask heads learn from the boxes that their step gives.
    """

    def __init__(
        self,
        *,
        assigners: tuple[MaxIoUAssigner, ...],
        sampler: BoxSampler,
        stage_weights: tuple[float, ...] = (1.0, 0.5, 0.25),
        bbox_roi_extractor: RoIExtractor,
        bbox_head: tuple[RegionBoxHead, ...],
        mask_roi_extractor: RoIExtractor,
        mask_head: tuple[HTCMaskHead, ...],
        semantic_roi_extractor: RoIExtractor | None = None,
        semantic_head: FusedSemanticHead | None = None,
        interleaved: bool = True,
    ) -> None:
        super().__init__(
            assigners=assigners,
            sampler=sampler,
            stage_weights=stage_weights,
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
            mask_roi_extractor=mask_roi_extractor,
            mask_head=mask_head,
        )
        if (semantic_head is None) != (semantic_roi_extractor is None):
            raise ValueError("semantic_head and semantic_roi_extractor come together")
        self.semantic_head, self.semantic_roi_extractor = semantic_head, semantic_roi_extractor
        self.interleaved = interleaved
        self.steps = mask_head

    def context(self, maps: Sequence[Tensor]) -> Tensor | None:
        """The semantic features (N, C, H, W), if there are."""
        return None if self.semantic_head is None else self.semantic_head(maps)[1]

    def context_loss(self, maps: Sequence[Tensor], batch: Batch) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The semantic features and ``loss_semantic_seg``."""
        if self.semantic_head is None or self.semantic_roi_extractor is None:
            return None, {}
        logits, features = self.semantic_head(maps)
        stride = self.semantic_roi_extractor.strides[0]
        return features, self.semantic_head.loss(logits, batch.samples, stride)

    def box_features(self, maps: Sequence[Tensor], rois: Tensor, context: Tensor | None) -> Tensor:
        """Pooled from the pyramid and from the semantic features."""
        return self._with_semantics(super().box_features(maps, rois, context), rois, context)

    def mask_features(self, maps: Sequence[Tensor], rois: Tensor, context: Tensor | None) -> Tensor:
        """Likewise."""
        return self._with_semantics(super().mask_features(maps, rois, context), rois, context)

    def mask_logits(self, stage: int, features: Tensor) -> Tensor:
        """(R, C, M, M), with the information that flows from the mask heads before."""
        previous = None
        for head in self.steps[:stage]:
            previous = head.hidden(features, previous)
        return self.steps[stage](features, previous)

    def mask_probabilities(self, maps: Sequence[Tensor], rois: Tensor, context: Tensor | None) -> Tensor:
        """(R, C, M, M) of the last step, which has seen all others."""
        features = self.mask_features(maps, rois, context)
        return self.mask_logits(len(self.steps) - 1, features).float().sigmoid()

    def _with_semantics(self, features: Tensor, rois: Tensor, context: Tensor | None) -> Tensor:
        if context is None or self.semantic_roi_extractor is None:
            return features
        semantic = self.semantic_roi_extractor([context], rois)
        if semantic.shape[-2:] != features.shape[-2:]:
            semantic = F.adaptive_avg_pool2d(semantic, (features.shape[-2], features.shape[-1]))
        return features + semantic


@register
class HTCMaskHead(MaskHead):
    """A mask head that takes the features of the one before.

    Args:
        in_channels: channels of a region's features.
        channels: width of the convolutions.
        num_convs: number of convolutions.
        num_classes: C.
        loss: on the logits of the object's class.
        norm: kind of norm in the convolutions.
        threshold: probability from which a pixel is in the mask.
        takes_features: whether there is a head before.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 4,
        num_classes: int,
        loss: Loss,
        norm: NormKind | None = None,
        threshold: float = 0.5,
        takes_features: bool = True,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            loss=loss,
            norm=norm,
            threshold=threshold,
        )
        self.conv_res = ConvNormAct(channels, channels, 1, norm=norm) if takes_features else None
        if self.conv_res is not None:
            init_conv(self.conv_res, kind="kaiming")

    def hidden(self, features: Tensor, previous: Tensor | None) -> Tensor:
        """Features (R, C_in, S, S) and those of the head before -> (R, channels, S, S)."""
        if previous is not None and self.conv_res is not None:
            features = features + self.conv_res(previous)
        for conv in self.convs:
            features = conv(features)
        return features

    def forward(self, features: Tensor, previous: Tensor | None = None) -> Tensor:
        """Features (R, C_in, S, S) -> mask logits (R, C, 2 S, 2 S)."""
        return self.conv_logits(self.upsample(self.hidden(features, previous)).relu())
