"""The second stage: from proposals to detections and their masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omma.backbones import ResNetStage
from omma.errors import DataError
from omma.registry import register
from omma.structures import Batch, Polygons, Prediction, Sample
from omma_detection.models.assigners import Assignment, MaxIoUAssigner
from omma_detection.models.heads.bbox_head import BBoxHead
from omma_detection.models.heads.mask_head import MaskHead, crop_masks, paste_masks
from omma_detection.models.heads.roi_extractor import RoIExtractor, boxes_to_rois
from omma_detection.models.heads.targets import gather
from omma_detection.models.samplers import RandomBoxSampler


@dataclass(frozen=True)
class Regions:
    """The regions of one image that enter the losses, positives first."""

    boxes: Tensor
    """(R, 4) xyxy."""
    objects: Tensor
    """(P,) object of each positive."""
    target_boxes: Tensor
    """(R, 4)"""
    labels: Tensor
    """(R,) class, or the number of classes for background."""


@register
class RoIHead(nn.Module):
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
        sampler: RandomBoxSampler,
        bbox_roi_extractor: RoIExtractor,
        bbox_head: BBoxHead,
        mask_roi_extractor: RoIExtractor | None = None,
        mask_head: MaskHead | None = None,
        shared_head: ResNetStage | None = None,
        add_objects: bool = True,
    ) -> None:
        super().__init__()
        size = bbox_roi_extractor.size // (shared_head.stride if shared_head else 1)
        if size != bbox_head.roi_size:
            sizes = f"{size} and {bbox_head.roi_size}"
            raise ValueError(
                f"the size of bbox_roi_extractor's regions and bbox_head.roi_size differ: {sizes}"
            )
        if shared_head and shared_head.out_channels != bbox_head.in_channels:
            widths = f"{shared_head.out_channels} and {bbox_head.in_channels}"
            raise ValueError(f"shared_head.out_channels and bbox_head.in_channels differ: {widths}")
        if shared_head and mask_head:
            raise ValueError("a shared_head goes with boxes only, got a mask_head")
        if (mask_head is None) != (mask_roi_extractor is None):
            raise ValueError("mask_head and mask_roi_extractor come together")
        if mask_head and mask_head.num_classes != bbox_head.num_classes:
            classes = f"{bbox_head.num_classes} and {mask_head.num_classes}"
            raise ValueError(f"bbox_head and mask_head have different numbers of classes: {classes}")
        self.assigner, self.sampler = assigner, sampler
        self.bbox_roi_extractor, self.bbox_head = bbox_roi_extractor, bbox_head
        self.mask_roi_extractor, self.mask_head = mask_roi_extractor, mask_head
        self.shared_head = shared_head
        self.add_objects = add_objects

    def forward(self, maps: Sequence[Tensor], proposals: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Raw logits and deltas for all proposals, and mask logits for the first hundred."""
        rois = boxes_to_rois(proposals)
        outputs = self._boxes(maps, rois)
        if self.mask_head is None or self.mask_roi_extractor is None:
            return outputs
        return *outputs, self.mask_head(self.mask_roi_extractor(maps, rois[:100]))

    def loss(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Losses of both heads over sampled proposals and the objects themselves."""
        regions = [
            self._sample(p, sample["boxes"], sample["labels"]) for p, sample in zip(proposals, batch.samples)
        ]
        rois = boxes_to_rois([r.boxes for r in regions])
        outputs = self._boxes(maps, rois)
        boxes, labels = torch.cat([r.target_boxes for r in regions]), torch.cat([r.labels for r in regions])
        losses = self.bbox_head.loss(outputs, rois, boxes, labels)
        if self.mask_head is None or self.mask_roi_extractor is None:
            return losses
        positives = [r.boxes[: len(r.objects)] for r in regions]
        logits = self.mask_head(self.mask_roi_extractor(maps, boxes_to_rois(positives)))
        targets = [
            crop_masks(_bitmaps(sample), p, r.objects, logits.shape[-1])
            for sample, p, r in zip(batch.samples, positives, regions)
        ]
        chosen = torch.cat([r.labels[: len(r.objects)] for r in regions])
        return losses | self.mask_head.loss(logits, chosen, torch.cat(targets))

    def predict(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> list[Prediction]:
        """Detections, and masks where there is a mask head, in original pixels."""
        rois = boxes_to_rois(proposals)
        found = self.bbox_head.predict(self._boxes(maps, rois), rois, batch)
        predictions = [Prediction(boxes=f.boxes, scores=f.scores, labels=f.labels) for f in found]
        if self.mask_head is not None:
            for prediction, masks in zip(predictions, self._masks(maps, predictions, batch)):
                prediction["masks"] = masks
        return predictions

    def _boxes(self, maps: Sequence[Tensor], rois: Tensor) -> tuple[Tensor, Tensor]:
        features = self.bbox_roi_extractor(maps, rois)
        return self.bbox_head(features if self.shared_head is None else self.shared_head(features))

    @torch.no_grad()
    def _sample(self, proposals: Tensor, objects: Tensor, labels: Tensor) -> Regions:
        objects = objects.as_subclass(Tensor).float()
        boxes = proposals.to(objects)
        assignment = self.assigner(boxes, objects)
        if self.add_objects:
            # The objects themselves are proposals too: early in training nothing else overlaps them.
            boxes = torch.cat([objects, boxes])
            own = torch.arange(len(objects), device=boxes.device)
            assignment = Assignment(torch.cat([own, assignment.objects]))
        sampled = self.sampler(assignment)
        index = torch.cat([sampled.positive, sampled.negative])
        background = labels.new_full((len(sampled.negative),), self.bbox_head.num_classes)
        return Regions(
            boxes=boxes[index],
            objects=assignment.objects[sampled.positive],
            target_boxes=gather(objects, assignment)[index],
            labels=torch.cat([gather(labels, assignment)[sampled.positive], background]),
        )

    def _masks(self, maps: Sequence[Tensor], predictions: list[Prediction], batch: Batch) -> list[Tensor]:
        assert self.mask_head is not None
        assert self.mask_roi_extractor is not None
        scales = [p["boxes"].new_tensor(meta.scale * 2) for p, meta in zip(predictions, batch.metas)]
        rois = boxes_to_rois([p["boxes"] * scale for p, scale in zip(predictions, scales)])
        logits = self.mask_head(self.mask_roi_extractor(maps, rois)).float()
        labels = torch.cat([p["labels"] for p in predictions])
        chosen = logits[torch.arange(len(labels), device=labels.device), labels].sigmoid()
        split = chosen.split([len(p["labels"]) for p in predictions])
        return [
            paste_masks(masks, p["boxes"], (meta.height, meta.width), self.mask_head.threshold)
            for masks, p, meta in zip(split, predictions, batch.metas)
        ]


def _bitmaps(sample: Sample) -> Tensor:
    """The sample's masks, (G, H, W) uint8."""
    masks, path = sample.get("masks"), sample["meta"].path
    if masks is None:
        raise DataError(f"{path}: the mask head needs masks; let the data set read them (masks: true)")
    if isinstance(masks, Polygons):
        raise DataError(f"{path}: the mask head needs bitmaps; add RasteriseMasks as the last transform")
    return masks.as_subclass(Tensor)
