"""The contract of second stages, and the regions that they train on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from omma.errors import DataError
from omma.structures import Batch, Polygons, Prediction, Sample
from omma_detection.models.assigners import Assignment, MaxIoUAssigner
from omma_detection.models.heads.mask_head import crop_masks
from omma_detection.models.heads.roi_extractor import RoIExtractor, boxes_to_rois
from omma_detection.models.heads.targets import gather
from omma_detection.models.samplers import BoxSampler

Hardness = Callable[[Tensor, Tensor], Tensor]
"""Boxes (P, 4) of one image and their labels (P,) -> classification losses (P,)."""


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
    given: Tensor
    """(P,) bool: the positive is an object itself and no proposal."""

    @property
    def positives(self) -> Tensor:
        """(P, 4) boxes of the positives."""
        return self.boxes[: len(self.objects)]


class RegionHead(nn.Module, ABC):
    """From proposals to detections."""

    @abstractmethod
    def pooled(self) -> list[tuple[str, int, RoIExtractor]]:
        """Name, channels and extractor of each place where the pyramid is pooled from."""

    @abstractmethod
    def forward(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor) -> Any:
        """Raw outputs for the proposals (P_i, 4) in images of ``sizes`` (N, 2) height and width, pixels."""

    @abstractmethod
    def loss(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Named, weighted losses over sampled proposals."""

    @abstractmethod
    def predict(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> list[Prediction]:
        """Detections in original pixels."""


@torch.no_grad()
def sample_regions(
    proposals: Tensor,
    sample: Sample,
    *,
    assigner: MaxIoUAssigner,
    sampler: BoxSampler,
    num_classes: int,
    add_objects: bool = True,
    hardness: Hardness | None = None,
) -> Regions:
    """The regions of one image that enter the losses.

    Args:
        proposals: (P, 4) xyxy, pixels.
        sample: its objects.
        assigner: which proposals are objects.
        sampler: which of them are taken.
        num_classes: the label of background.
        add_objects: take the objects for proposals too: early in training nothing else overlaps them.
        hardness: for samplers that need it.
    """
    objects, labels = sample["boxes"].as_subclass(Tensor).float(), sample["labels"]
    boxes = proposals.to(objects)
    assignment = assigner(boxes, objects)
    added = len(objects) if add_objects else 0
    if added:
        boxes = torch.cat([objects, boxes])
        own = torch.arange(added, device=boxes.device)
        overlaps = torch.cat([boxes.new_ones(added), assignment.overlaps])
        assignment = Assignment(torch.cat([own, assignment.objects]), overlaps)
    known = torch.where(assignment.positive, gather(labels, assignment), num_classes)
    losses = hardness(boxes, known) if hardness and sampler.needs_losses else None
    sampled = sampler(assignment, losses)
    index = torch.cat([sampled.positive, sampled.negative])
    return Regions(
        boxes=boxes[index],
        objects=assignment.objects[sampled.positive],
        target_boxes=gather(objects, assignment)[index],
        labels=known[index],
        given=sampled.positive < added,
    )


def mask_targets(regions: Sequence[Regions], batch: Batch, size: int) -> tuple[Tensor, Tensor]:
    """Of all P positives: their labels (P,) and their objects' masks in them, 0/1 of (P, size, size).

    Raises:
        DataError: the samples have no bitmaps.
    """
    labels = torch.cat([r.labels[: len(r.objects)] for r in regions])
    targets = [
        crop_masks(bitmaps(sample), r.positives, r.objects, size) for sample, r in zip(batch.samples, regions)
    ]
    return labels, torch.cat(targets)


def positive_rois(regions: Sequence[Regions]) -> Tensor:
    """(P, 5)."""
    return boxes_to_rois([r.positives for r in regions])


def bitmaps(sample: Sample) -> Tensor:
    """The sample's masks, (G, H, W) uint8.

    Raises:
        DataError: it has none, or outlines.
    """
    masks, path = sample.get("masks"), sample["meta"].path
    if masks is None:
        raise DataError(f"{path}: the mask head needs masks; let the data set read them (masks: true)")
    if isinstance(masks, Polygons):
        raise DataError(f"{path}: the mask head needs bitmaps; add RasteriseMasks as the last transform")
    return masks.as_subclass(Tensor)
