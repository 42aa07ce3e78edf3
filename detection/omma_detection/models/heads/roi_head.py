"""The second stage: from proposals to detections and their masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.backbones import ResNetStage
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.heads.detections import Candidates
from omma_detection.models.heads.mask_head import MaskHead, paste_predictions, scaled_rois
from omma_detection.models.heads.region import (
    Hardness,
    RegionHead,
    Regions,
    mask_targets,
    positive_rois,
    sample_regions,
)
from omma_detection.models.heads.region_box_head import BoxOutputs, RegionBoxHead
from omma_detection.models.heads.roi_extractor import RoIExtractor, boxes_to_rois
from omma_detection.models.samplers import BoxSampler


@register
class RoIHead(RegionHead):
    """Box head, and mask head where there is one, on sampled regions.

    Args:
        assigner: which proposals are objects.
        sampler: which proposals enter the losses.
        bbox_roi_extractor: features for the box head.
        bbox_head: class and box.
        mask_roi_extractor: features for the mask head.
        mask_head: masks; null: boxes only.
        shared_head: what a region's features go through before the heads; null: nothing.
        add_objects: whether the objects themselves are proposals in training.
    """

    def __init__(
        self,
        *,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        bbox_roi_extractor: RoIExtractor,
        bbox_head: RegionBoxHead,
        mask_roi_extractor: RoIExtractor | None = None,
        mask_head: MaskHead | None = None,
        shared_head: ResNetStage | None = None,
        add_objects: bool = True,
    ) -> None:
        super().__init__()
        check_size(bbox_roi_extractor, bbox_head, shared_head.stride if shared_head else 1)
        if shared_head and shared_head.out_channels != bbox_head.in_channels:
            widths = f"{shared_head.out_channels} and {bbox_head.in_channels}"
            raise ValueError(f"shared_head.out_channels and bbox_head.in_channels differ: {widths}")
        if shared_head and mask_head:
            raise ValueError("a shared_head goes with boxes only, got a mask_head")
        check_masks(bbox_head, mask_head, mask_roi_extractor)
        self.assigner, self.sampler = assigner, sampler
        self.bbox_roi_extractor, self.bbox_head = bbox_roi_extractor, bbox_head
        self.mask_roi_extractor, self.mask_head = mask_roi_extractor, mask_head
        self.shared_head = shared_head
        self.add_objects = add_objects

    def pooled(self) -> list[tuple[str, int, RoIExtractor]]:
        """The places of the box head and of the mask head."""
        channels = self.shared_head.in_channels if self.shared_head else self.bbox_head.in_channels
        places = [("bbox", channels, self.bbox_roi_extractor)]
        if self.mask_head is not None and self.mask_roi_extractor is not None:
            places.append(("mask", self.mask_head.in_channels, self.mask_roi_extractor))
        return places

    def forward(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> tuple[Tensor, ...]:
        """Raw logits and deltas for all proposals, and mask logits for the first hundred."""
        rois = boxes_to_rois(proposals)
        outputs = self.box_outputs(maps, rois)
        return outputs if self.mask_head is None else (*outputs, self.mask_outputs(maps, rois[:100]))

    def loss(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Losses of both heads over sampled proposals and the objects themselves."""
        regions = self.sample(maps, proposals, batch)
        losses = self.box_loss(maps, regions, batch)
        return losses if self.mask_head is None else losses | self.mask_loss(maps, regions, batch)

    def predict(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> list[Prediction]:
        """Detections, and masks where there is a mask head, in original pixels."""
        found = self.predict_boxes(maps, proposals, batch)
        predictions = [Prediction(boxes=f.boxes, scores=f.scores, labels=f.labels) for f in found]
        if self.mask_head is not None:
            self.add_masks(maps, predictions, batch)
        return predictions

    def sample(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> list[Regions]:
        """The regions of each image that enter the losses."""
        return [
            sample_regions(
                each,
                sample,
                assigner=self.assigner,
                sampler=self.sampler,
                num_classes=self.bbox_head.num_classes,
                add_objects=self.add_objects,
                hardness=self._hardness([m[i : i + 1] for m in maps]),
            )
            for i, (each, sample) in enumerate(zip(proposals, batch.samples))
        ]

    def box_outputs(self, maps: Sequence[Tensor], rois: Tensor) -> BoxOutputs:
        """The box head's raw outputs for rois (R, 5)."""
        features = self.bbox_roi_extractor(maps, rois)
        return self.bbox_head(features if self.shared_head is None else self.shared_head(features))

    def box_loss(self, maps: Sequence[Tensor], regions: Sequence[Regions], batch: Batch) -> dict[str, Tensor]:
        """Losses of the box head."""
        rois = boxes_to_rois([r.boxes for r in regions])
        boxes, labels = torch.cat([r.target_boxes for r in regions]), torch.cat([r.labels for r in regions])
        return self.bbox_head.loss(self.box_outputs(maps, rois), rois, boxes, labels)

    def predict_boxes(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch
    ) -> list[Candidates]:
        """The boxes of each image in original pixels."""
        rois = boxes_to_rois(proposals)
        return self.bbox_head.predict(self.box_outputs(maps, rois), rois, batch)

    def mask_outputs(self, maps: Sequence[Tensor], rois: Tensor) -> Tensor:
        """The mask head's logits (R, C, M, M) for rois (R, 5)."""
        assert self.mask_head is not None
        assert self.mask_roi_extractor is not None
        return self.mask_head(self.mask_roi_extractor(maps, rois))

    def mask_loss(
        self, maps: Sequence[Tensor], regions: Sequence[Regions], batch: Batch
    ) -> dict[str, Tensor]:
        """Losses of the mask head on the positives."""
        assert self.mask_head is not None
        logits = self.mask_outputs(maps, positive_rois(regions))
        return self.mask_head.loss(logits, *mask_targets(regions, batch, logits.shape[-1]))

    def add_masks(self, maps: Sequence[Tensor], predictions: list[Prediction], batch: Batch) -> None:
        """Give each prediction its masks."""
        assert self.mask_head is not None
        logits = self.mask_outputs(maps, scaled_rois(predictions, batch))
        paste_predictions(logits.float().sigmoid(), predictions, batch, self.mask_head.threshold)

    def _hardness(self, maps: Sequence[Tensor]) -> Hardness:
        def losses(boxes: Tensor, labels: Tensor) -> Tensor:
            logits = self.box_outputs(maps, boxes_to_rois([boxes]))[0]
            return self.bbox_head.loss_cls.elements(logits.float(), labels)

        return losses


def check_size(extractor: RoIExtractor, head: RegionBoxHead, stride: int = 1) -> None:
    """Whether a box head takes the size that is pooled, after a shared head of some stride.

    Raises:
        ValueError: it takes another.
    """
    size = extractor.size // stride
    if size != head.roi_size:
        raise ValueError(
            "the size of bbox_roi_extractor's regions and bbox_head.roi_size differ: "
            f"{size} and {head.roi_size}"
        )


def check_masks(head: RegionBoxHead, mask_head: MaskHead | None, extractor: RoIExtractor | None) -> None:
    """Whether a mask head has an extractor and the box head's classes.

    Raises:
        ValueError: it hasn't.
    """
    if (mask_head is None) != (extractor is None):
        raise ValueError("mask_head and mask_roi_extractor come together")
    if mask_head and mask_head.num_classes != head.num_classes:
        classes = f"{head.num_classes} and {mask_head.num_classes}"
        raise ValueError(f"bbox_head and mask_head have different numbers of classes: {classes}")
