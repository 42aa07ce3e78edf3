"""Dynamic R-CNN (Zhang et al., Towards High Quality Object Detection via Dynamic Training, 2020)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from omma.losses import SmoothL1Loss
from omma.ops import pairwise_iou
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.heads.bbox_head import BBoxHead
from omma_detection.models.heads.mask_head import MaskHead
from omma_detection.models.heads.region import Regions
from omma_detection.models.heads.roi_extractor import RoIExtractor
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.samplers import BoxSampler

_LEAST_BETA = 1e-15


@register
class DynamicRoIHead(RoIHead):
    """The IoU of positives and the beta of the box loss follow the proposals as they get better.

    Args:
        assigner: which proposals are objects; its thresholds are moved.
        sampler: which proposals enter the losses.
        bbox_roi_extractor: features for the box head.
        bbox_head: class and box; the beta of its ``SmoothL1Loss`` is moved.
        mask_roi_extractor: features for the mask head.
        mask_head: masks; null: boxes only.
        iou_rank: which of an image's IoUs, from the highest, is taken for the threshold.
        beta_rank: which of the errors of the targets, from the lowest and per image, is taken for beta.
        interval: steps between changes.
        least_iou: lower bound of the threshold.
        most_beta: upper bound of beta.
    """

    def __init__(
        self,
        *,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        bbox_roi_extractor: RoIExtractor,
        bbox_head: BBoxHead,
        mask_roi_extractor: RoIExtractor | None = None,
        mask_head: MaskHead | None = None,
        iou_rank: int = 75,
        beta_rank: int = 10,
        interval: int = 100,
        least_iou: float = 0.4,
        most_beta: float = 1.0,
    ) -> None:
        super().__init__(
            assigner=assigner,
            sampler=sampler,
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
            mask_roi_extractor=mask_roi_extractor,
            mask_head=mask_head,
        )
        if not isinstance(bbox_head.box_loss, SmoothL1Loss):
            raise ValueError("Dynamic R-CNN moves the beta of a SmoothL1Loss; bbox_head.box_loss is another")
        self.coder, self.smooth_l1 = bbox_head.coder, bbox_head.box_loss
        self.iou_rank, self.beta_rank, self.interval = iou_rank, beta_rank, interval
        self.least_iou, self.most_beta = least_iou, most_beta
        self.ious: list[float] = []
        self.errors: list[float] = []

    def loss(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Losses of the heads. Every ``interval`` steps threshold and beta are moved."""
        self.ious.append(self._iou_of(proposals, batch))
        losses = super().loss(maps, proposals, batch)
        if len(self.ious) >= self.interval:
            self._move()
        return losses

    def training_state(self) -> dict[str, Any]:
        """Where threshold and beta stand, and what was gathered since they moved, for a run that goes on."""
        assigner = self.assigner
        return {
            "thresholds": [assigner.positive_iou, assigner.negative_iou, assigner.min_positive_iou],
            "beta": self.smooth_l1.beta,
            "ious": list(self.ious),
            "errors": list(self.errors),
        }

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Put back what ``training_state`` gave."""
        assigner = self.assigner
        assigner.positive_iou, assigner.negative_iou, assigner.min_positive_iou = map(
            float, state["thresholds"]
        )
        self.smooth_l1.beta = float(state["beta"])
        self.ious, self.errors = list(map(float, state["ious"])), list(map(float, state["errors"]))

    def box_loss(self, maps: Sequence[Tensor], regions: Sequence[Regions], batch: Batch) -> dict[str, Tensor]:
        """Losses of the box head."""
        positives = torch.cat([r.positives for r in regions])
        targets = torch.cat([r.target_boxes[: len(r.objects)] for r in regions])
        if len(positives):
            # Of the shifts of the centre, which IoU depends on most.
            error = self.coder.encode(positives, targets)[:, :2].abs().mean(dim=1)
            rank = min(self.beta_rank * len(regions), len(error))
            self.errors.append(float(error.kthvalue(rank).values))
        return super().box_loss(maps, regions, batch)

    @torch.no_grad()
    def _iou_of(self, proposals: Sequence[Tensor], batch: Batch) -> float:
        """The IoU of a high rank among the proposals, averaged over the images."""
        found = []
        for boxes, sample in zip(proposals, batch.samples):
            objects = sample["boxes"].as_subclass(Tensor).float()
            iou = pairwise_iou(boxes, objects)
            best = iou.amax(dim=1) if len(objects) else boxes.new_zeros(len(boxes))
            # An image whose proposals were all dropped has none that is good.
            top = best.topk(min(self.iou_rank, len(best))).values
            found.append(float(top[-1]) if len(top) else 0.0)
        return sum(found) / len(found)

    def _move(self) -> None:
        threshold = max(self.least_iou, sum(self.ious) / len(self.ious))
        self.assigner.positive_iou = self.assigner.negative_iou = threshold
        self.assigner.min_positive_iou = threshold
        if self.errors and (error := statistics.median(self.errors)) >= _LEAST_BETA:
            self.smooth_l1.beta = min(self.most_beta, error)
        self.ious, self.errors = [], []
