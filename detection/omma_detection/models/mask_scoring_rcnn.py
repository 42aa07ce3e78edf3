"""Mask Scoring R-CNN (Huang et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from omma.layers import init_conv
from omma.losses import Loss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.heads.mask_head import MaskHead, paste_predictions, scaled_rois
from omma_detection.models.heads.region import Regions, bitmaps, mask_targets, positive_rois
from omma_detection.models.heads.region_box_head import RegionBoxHead
from omma_detection.models.heads.roi_extractor import RoIExtractor
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.samplers import BoxSampler


@register
class MaskScoringRoIHead(RoIHead):
    """A mask head whose masks are scored by a head that predicts their IoU.

    Args:
        assigner: which proposals are objects.
        sampler: which proposals enter the losses.
        bbox_roi_extractor: features for the box head.
        bbox_head: class and box.
        mask_roi_extractor: features for the mask head.
        mask_head: masks.
        mask_iou_head: the masks' IoU.
    """

    mask_head: MaskHead

    def __init__(
        self,
        *,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        bbox_roi_extractor: RoIExtractor,
        bbox_head: RegionBoxHead,
        mask_roi_extractor: RoIExtractor,
        mask_head: MaskHead,
        mask_iou_head: MaskIoUHead,
    ) -> None:
        super().__init__(
            assigner=assigner,
            sampler=sampler,
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
            mask_roi_extractor=mask_roi_extractor,
            mask_head=mask_head,
        )
        self.mask_iou_head = mask_iou_head

    def forward(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Tensor
    ) -> tuple[Tensor, ...]:
        """Logits and deltas for all proposals; for the first hundred mask logits and IoUs of all classes."""
        logits, deltas, masks = super().forward(maps, proposals, sizes)
        rois = torch.cat([b.new_full((len(b), 1), i) for i, b in enumerate(proposals)])
        rois = torch.cat([rois, torch.cat(list(proposals))], dim=1)[: len(masks)]
        best = logits[: len(masks), :-1].argmax(dim=1)
        return logits, deltas, masks, self._ious(self._features(maps, rois), masks, best)

    def mask_loss(
        self, maps: Sequence[Tensor], regions: Sequence[Regions], batch: Batch
    ) -> dict[str, Tensor]:
        """``loss_mask`` and ``loss_mask_iou``."""
        features = self._features(maps, positive_rois(regions))
        logits = self.mask_head(features)
        labels, targets = mask_targets(regions, batch, logits.shape[-1])
        losses = self.mask_head.loss(logits, labels, targets)
        row = torch.arange(len(labels), device=labels.device)
        predicted = self._ious(features, logits, labels)[row, labels]
        with torch.no_grad():
            found = logits[row, labels].float() > self.mask_head.threshold
            shares = [_share_inside(bitmaps(s), r) for s, r in zip(batch.samples, regions)]
            iou = mask_iou(found, targets, torch.cat(shares))
        return losses | self.mask_iou_head.loss(predicted, iou)

    def add_masks(self, maps: Sequence[Tensor], predictions: list[Prediction], batch: Batch) -> None:
        """Give each prediction its masks, and its scores the factor of their IoU; the best come first."""
        features = self._features(maps, scaled_rois(predictions, batch))
        logits = self.mask_head(features)
        labels = torch.cat([p["labels"] for p in predictions])
        paste_predictions(logits.float().sigmoid(), predictions, batch, self.mask_head.threshold)
        row = torch.arange(len(labels), device=labels.device)
        ious = self._ious(features, logits, labels).float()[row, labels].clamp(0, 1)
        for prediction, iou in zip(predictions, ious.split([len(p["labels"]) for p in predictions])):
            scores = prediction["scores"] * iou
            order = scores.argsort(descending=True, stable=True)
            prediction["scores"] = scores[order]
            for key in ("boxes", "labels", "masks"):
                prediction[key] = prediction[key][order]

    def _features(self, maps: Sequence[Tensor], rois: Tensor) -> Tensor:
        assert self.mask_roi_extractor is not None
        return self.mask_roi_extractor(maps, rois)

    def _ious(self, features: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """(R, C), predicted for the masks of the labelled classes."""
        return self.mask_iou_head(features, logits[torch.arange(len(labels), device=labels.device), labels])


def _share_inside(masks: Tensor, regions: Regions) -> Tensor:
    """Share of each positive's object, (P,), that lies in the pixels of its box."""
    areas = masks.flatten(1).sum(dim=1).float()
    inside = []
    for object, (x1, y1, x2, y2) in zip(regions.objects.tolist(), regions.positives.int().tolist()):
        x1, y1 = max(x1, 0), max(y1, 0)
        inside.append(masks[object, y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)].sum())
    if not inside:
        return areas.new_zeros(0)
    return torch.stack(inside).float() / (areas[regions.objects] + 1e-7)


def mask_iou(found: Tensor, targets: Tensor, shares: Tensor) -> Tensor:
    """IoU (P,) of masks (P, M, M) within regions with the whole objects.

    Args:
        found: predicted, bool.
        targets: the objects in the regions, 0/1.
        shares: (P,) of each object's area that its region has.
    """
    found = found.float()
    overlap = (found * targets).sum(dim=(1, 2))
    whole = targets.sum(dim=(1, 2)) / (shares + 1e-7)
    return overlap / (found.sum(dim=(1, 2)) + whole - overlap)


@register
class MaskIoUHead(nn.Module):
    """The IoU that a mask of each class would have, from the features and the mask of the found class.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width; masks have twice as much.
        num_convs: convolutions; the last has stride 2.
        channels: their width.
        fc_channels: widths of the layers behind them.
        num_classes: C.
        loss: on the IoU of the object's class.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        roi_size: int = 14,
        num_convs: int = 4,
        channels: int = 256,
        fc_channels: tuple[int, ...] = (1024, 1024),
        num_classes: int,
        loss: Loss,
    ) -> None:
        super().__init__()
        widths = (in_channels + 1, *(channels,) * num_convs)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, 2 if i == num_convs - 1 else 1, padding=1)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        sizes = (channels * (roi_size // 2) ** 2, *fc_channels)
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.fc_mask_iou = nn.Linear(sizes[-1], num_classes)
        self.iou_loss = loss
        init_conv(self.convs, kind="kaiming")
        init_conv(self.fcs, kind="xavier")
        init_conv(self.fc_mask_iou, std=0.01)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"fc_mask_iou.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, features: Tensor, masks: Tensor) -> Tensor:
        """Features (R, C_in, S, S) and mask logits (R, 2 S, 2 S) -> IoUs (R, C)."""
        pooled = nn.functional.max_pool2d(masks.sigmoid()[:, None], 2, 2)
        x = torch.cat([features, pooled], dim=1)
        for conv in self.convs:
            x = conv(x).relu()
        x = x.flatten(1)
        for layer in self.fcs:
            x = layer(x).relu()
        return self.fc_mask_iou(x)

    def loss(self, predicted: Tensor, target: Tensor) -> dict[str, Tensor]:
        """``loss_mask_iou`` of IoUs (P,) over those masks that overlap their object at all."""
        some = target > 0
        count = normalizer(int(some.sum()))
        return {"loss_mask_iou": self.iou_loss(predicted[some], target[some], avg_factor=count)}
