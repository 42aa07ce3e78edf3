"""A second stage of several steps, each on the boxes of the one before (Cai and Vasconcelos, 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.heads.detections import image_sizes
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
from omma_detection.models.heads.roi_head import check_masks, check_size
from omma_detection.models.samplers import BoxSampler


@register
class CascadeRoIHead(RegionHead):
    """Box heads that refine each other's boxes, and as many mask heads or none.

    Args:
        assigners: which proposals of each step are objects.
        sampler: which proposals enter the losses.
        stage_weights: of each step's losses.
        bbox_roi_extractor: features for the box heads.
        bbox_head: class and box, one head for each step.
        mask_roi_extractor: features for the mask heads.
        mask_head: masks, one head for each step; null: boxes only.
    """

    interleaved = False
    """Whether the mask head of a step learns from the boxes that the step gives, not from those it gets."""

    def __init__(
        self,
        *,
        assigners: tuple[MaxIoUAssigner, ...],
        sampler: BoxSampler,
        stage_weights: tuple[float, ...] = (1.0, 0.5, 0.25),
        bbox_roi_extractor: RoIExtractor,
        bbox_head: tuple[RegionBoxHead, ...],
        mask_roi_extractor: RoIExtractor | None = None,
        mask_head: tuple[MaskHead, ...] | None = None,
    ) -> None:
        super().__init__()
        counts = (len(assigners), len(stage_weights), len(mask_head or bbox_head))
        if not bbox_head or set(counts) != {len(bbox_head)}:
            raise ValueError(
                "assigners, stage_weights, bbox_head and mask_head have one entry for each step, got "
                f"{len(assigners)}, {len(stage_weights)}, {len(bbox_head)} and {len(mask_head or ())}"
            )
        if len({head.num_classes for head in bbox_head}) > 1:
            raise ValueError("the steps of bbox_head have different numbers of classes")
        for i, head in enumerate(bbox_head):
            check_size(bbox_roi_extractor, head)
            check_masks(head, mask_head[i] if mask_head else None, mask_roi_extractor)
        self.assigners, self.sampler, self.stage_weights = assigners, sampler, stage_weights
        self.bbox_roi_extractor, self.mask_roi_extractor = bbox_roi_extractor, mask_roi_extractor
        self.bbox_head = nn.ModuleList(bbox_head)
        self.mask_head: nn.Module | None = nn.ModuleList(mask_head) if mask_head else None
        self.num_classes = bbox_head[0].num_classes

    def pooled(self) -> list[tuple[str, int, RoIExtractor]]:
        """The places of the box heads and of the mask heads."""
        places = [("bbox", head.in_channels, self.bbox_roi_extractor) for head in _heads(self.bbox_head)]
        if self.mask_head is not None and self.mask_roi_extractor is not None:
            places += [("mask", head.in_channels, self.mask_roi_extractor) for head in _heads(self.mask_head)]
        return places

    def forward(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> tuple[Tensor, ...]:
        """Logits averaged over the steps, the last step's deltas, and the probabilities of masks."""
        context = self.context(maps)
        outputs, rois = self.run_stages(maps, boxes_to_rois(proposals), sizes, context)
        if self.mask_roi_extractor is None:
            return outputs
        return *outputs, self.mask_probabilities(maps, rois, context)

    def loss(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> dict[str, Tensor]:
        """Losses of all steps, ``s0.loss_cls`` and so on."""
        context, losses = self.context_loss(maps, batch)
        for stage, weight in enumerate(self.stage_weights):
            found, regions, proposals = self.box_stage(stage, maps, proposals, batch, context)
            if self.mask_head is not None:
                if self.interleaved:
                    regions = self.sample(stage, maps, proposals, batch)
                found |= self.mask_loss(stage, maps, regions, batch, context)
            losses |= {f"s{stage}.{name}": weight * value for name, value in found.items()}
        return losses

    def predict(self, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch) -> list[Prediction]:
        """Detections, and masks where there are mask heads, in original pixels."""
        context = self.context(maps)
        sizes = image_sizes(batch, maps[0].device)
        outputs, rois = self.run_stages(maps, boxes_to_rois(proposals), sizes, context)
        found = _heads(self.bbox_head)[-1].predict(outputs, rois, batch)
        predictions = [Prediction(boxes=f.boxes, scores=f.scores, labels=f.labels) for f in found]
        if self.mask_roi_extractor is not None:
            probabilities = self.mask_probabilities(maps, scaled_rois(predictions, batch), context)
            paste_predictions(probabilities, predictions, batch, self.mask_threshold)
        return predictions

    @property
    def mask_threshold(self) -> float:
        """Probability from which a pixel is in the mask."""
        assert self.mask_head is not None
        return _heads(self.mask_head)[-1].threshold

    def context(self, maps: Sequence[Tensor]) -> Any:
        """What the features of all regions have added; here nothing."""
        return None

    def context_loss(self, maps: Sequence[Tensor], batch: Batch) -> tuple[Any, dict[str, Tensor]]:
        """The context and its own losses."""
        return None, {}

    def box_features(self, maps: Sequence[Tensor], rois: Tensor, context: Any) -> Tensor:
        """What the box heads see of rois (R, 5)."""
        return self.bbox_roi_extractor(maps, rois)

    def mask_features(self, maps: Sequence[Tensor], rois: Tensor, context: Any) -> Tensor:
        """What the mask heads see of rois (R, 5)."""
        assert self.mask_roi_extractor is not None
        return self.mask_roi_extractor(maps, rois)

    def mask_logits(self, stage: int, features: Tensor) -> Tensor:
        """(R, C, M, M) of one step."""
        assert self.mask_head is not None
        return _heads(self.mask_head)[stage](features)

    def mask_probabilities(self, maps: Sequence[Tensor], rois: Tensor, context: Any) -> Tensor:
        """(R, C, M, M), the mean over the steps."""
        features = self.mask_features(maps, rois, context)
        stages = range(len(self.stage_weights))
        return torch.stack([self.mask_logits(i, features).float().sigmoid() for i in stages]).mean(dim=0)

    def sample(
        self, stage: int, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch
    ) -> list[Regions]:
        """The regions of each image that enter the losses of a step."""
        return [
            sample_regions(
                each,
                sample,
                assigner=self.assigners[stage],
                sampler=self.sampler,
                num_classes=self.num_classes,
                hardness=self._hardness(stage, maps, i),
            )
            for i, (each, sample) in enumerate(zip(proposals, batch.samples))
        ]

    def box_stage(
        self, stage: int, maps: Sequence[Tensor], proposals: Sequence[Tensor], batch: Batch, context: Any
    ) -> tuple[dict[str, Tensor], list[Regions], list[Tensor]]:
        """One step on proposals: its losses, the regions that it trained on, and its own boxes.

        Boxes made of the objects themselves are left out: they would need no refinement.
        """
        head = _heads(self.bbox_head)[stage]
        regions = self.sample(stage, maps, proposals, batch)
        rois = boxes_to_rois([r.boxes for r in regions])
        boxes, labels = torch.cat([r.target_boxes for r in regions]), torch.cat([r.labels for r in regions])
        outputs = self.box_outputs(stage, maps, rois, context)
        refined = head.refine(outputs, rois, labels, image_sizes(batch, rois.device))
        refined = refined.split([len(r.boxes) for r in regions])
        kept = [torch.cat([b[: len(r.given)][~r.given], b[len(r.given) :]]) for b, r in zip(refined, regions)]
        return head.loss(outputs, rois, boxes, labels), regions, kept

    def box_outputs(self, stage: int, maps: Sequence[Tensor], rois: Tensor, context: Any) -> BoxOutputs:
        """The raw outputs of a step's box head for rois (R, 5)."""
        return _heads(self.bbox_head)[stage](self.box_features(maps, rois, context))

    def mask_loss(
        self, stage: int, maps: Sequence[Tensor], regions: Sequence[Regions], batch: Batch, context: Any
    ) -> dict[str, Tensor]:
        """Losses of a step's mask head on the positives."""
        assert self.mask_head is not None
        logits = self.mask_logits(stage, self.mask_features(maps, positive_rois(regions), context))
        return _heads(self.mask_head)[stage].loss(logits, *mask_targets(regions, batch, logits.shape[-1]))

    def run_stages(
        self, maps: Sequence[Tensor], rois: Tensor, sizes: Tensor, context: Any
    ) -> tuple[BoxOutputs, Tensor]:
        """All steps on rois (R, 5): averaged logits with the last regressions, and the last step's rois."""
        logits = []
        outputs: BoxOutputs = ()
        background = rois.new_full((len(rois),), self.num_classes, dtype=torch.int64)
        for stage, head in enumerate(_heads(self.bbox_head)):
            outputs = self.box_outputs(stage, maps, rois, context)
            logits.append(outputs[0])
            if stage < len(self.bbox_head) - 1:
                refined = head.refine(outputs, rois, background, sizes)
                rois = torch.cat([rois[:, :1], refined], dim=1)
        return (torch.stack(logits).mean(dim=0), *outputs[1:]), rois

    def _hardness(self, stage: int, maps: Sequence[Tensor], image: int) -> Hardness:
        def losses(boxes: Tensor, labels: Tensor) -> Tensor:
            rois = boxes_to_rois([boxes])
            rois[:, 0] = image
            logits = self.box_outputs(stage, maps, rois, self.context(maps))[0]
            return _heads(self.bbox_head)[stage].loss_cls.elements(logits.float(), labels)

        return losses


def _heads(heads: nn.Module) -> list[Any]:
    """The heads of a list, which forgets their type."""
    return list(heads.children())
