"""YOLACT (Bolya et al., YOLACT: Real-time Instance Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.layers import init_conv
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import pairwise_iou
from omma.registry import register
from omma.structures import Batch, Meta, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.coders.delta import clip_boxes
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import Candidates, box_scales, image_sizes
from omma_detection.models.heads.hard_negatives import background_loss, hardest
from omma_detection.models.heads.prototypes import Positives, Size, YOLACTProtonet, crop
from omma_detection.models.heads.targets import Matched, count_positives, flatten_levels, match
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector


class YOLACTOutputs(NamedTuple):
    """Raw maps per level, of A anchors."""

    logits: list[Tensor]
    """(N, A * (C + 1), H, W), background last."""
    deltas: list[Tensor]
    """(N, A * 4, H, W)"""
    coefficients: list[Tensor]
    """(N, A * M, H, W) in -1..1: how much of each prototype is in an anchor's mask."""


@dataclass(frozen=True, kw_only=True)
class FastNMS:
    """Suppression of all classes at once, in which suppressed boxes suppress others too."""

    score_threshold: float = 0.05
    """Lowest class score."""
    pre_nms: int = 1000
    """Best anchors of each level."""
    per_class: int = 200
    """Best boxes of each class that take part."""
    nms_iou: float = 0.5
    """Boxes that overlap a better one of their class by more are dropped."""
    max_per_image: int = 100
    """Predictions per image."""

    def __call__(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which of the boxes (P, 4) with scores (P, C) are left: index, label and score (K,), by score."""
        best, index = scores.T.topk(min(self.per_class, len(boxes)), dim=1)  # (C, Q)
        ranked = boxes[index]
        overlap = torch.stack([pairwise_iou(own, own) for own in ranked])
        kept = (overlap.triu(diagonal=1).amax(dim=1) <= self.nms_iou) & (best > self.score_threshold)
        label, rank = kept.nonzero(as_tuple=True)
        score, order = best[label, rank].sort(descending=True, stable=True)
        order = order[: self.max_per_image]
        label, rank = label[order], rank[order]
        return index[label, rank], label, score[: self.max_per_image]


DEFAULT_FAST_NMS = FastNMS()


@register
class YOLACT(SingleStageDetector):
    """A pyramid, a head of anchors with coefficients, and prototypes of masks that these combine.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the anchor head.
        mask_head: finest level to prototypes.
        preprocessor: images to network input.
    """

    bbox_head: YOLACTHead

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck,
        bbox_head: YOLACTHead,
        mask_head: YOLACTProtonet,
        preprocessor: Preprocessor,
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)
        if mask_head.num_prototypes != bbox_head.num_prototypes:
            raise ValueError(
                f"mask_head has {mask_head.num_prototypes} prototypes, bbox_head has coefficients for "
                f"{bbox_head.num_prototypes}"
            )
        self.mask_head = mask_head

    def forward(self, images: Tensor | Sequence[Tensor]) -> tuple[YOLACTOutputs, Tensor]:
        """The head's maps and the prototypes for uint8 RGB images."""
        maps = self.features(images)
        return self.bbox_head(maps), self.mask_head(maps[0])

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox``, ``loss_mask`` and ``loss_segm``."""
        maps = self.features(batch.images)
        outputs = self.bbox_head(maps)
        matched = self.bbox_head.match(outputs, batch)
        losses = self.bbox_head.losses(outputs, matched)
        found = self.bbox_head.positives(outputs, matched)
        return losses | self.mask_head.losses(maps[0], found, batch, self._padded(batch))

    def predict(self, batch: Batch) -> list[Prediction]:
        """Boxes and masks in original pixels."""
        outputs, prototypes = self.forward(batch.images)
        coefficients = flatten_levels(outputs.coefficients, self.bbox_head.num_prototypes)
        scales, padded = box_scales(batch, prototypes.device), self._padded(batch)
        predictions = []
        for i, found in enumerate(self.bbox_head.found(outputs, batch)):
            assert found.places is not None
            masks = self.mask_head.masks(prototypes[i], coefficients[i, found.places])
            masks = crop(masks.float().sigmoid().permute(2, 0, 1), found.boxes, padded)
            predictions.append(
                Prediction(
                    boxes=found.boxes / scales[i],
                    scores=found.scores,
                    labels=found.labels,
                    masks=_enlarge(masks, padded, batch.metas[i]) > self.mask_head.mask_threshold,
                )
            )
        return predictions

    def _padded(self, batch: Batch) -> Size:
        """(H, W) of the network's input."""
        canvas = self.preprocessor.canvas(batch.sizes)
        return canvas.height, canvas.width


@register
class YOLACTHead(DenseHead):
    """Shared convolutions, then class logits, deltas and mask coefficients for A anchors at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the convolutions.
        num_convs: how many are shared.
        num_classes: C.
        num_prototypes: M.
        anchors: the priors.
        coder: box coder.
        assigner: which anchors are objects.
        cls_loss: over positives and the hardest negatives, labels with C as background.
        box_loss: on the deltas of positives.
        negatives: hardest negatives for each positive of an image; of an image without any, all of them.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 1,
        num_classes: int,
        num_prototypes: int = 32,
        anchors: AnchorGenerator,
        coder: DeltaCoder,
        assigner: MaxIoUAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        negatives: int = 3,
        selection: FastNMS = DEFAULT_FAST_NMS,
    ) -> None:
        super().__init__()
        self.in_channels, self.strides = in_channels, anchors.strides
        self.num_classes, self.num_prototypes = num_classes, num_prototypes
        self.anchors, self.coder, self.assigner = anchors, coder, assigner
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.negatives, self.selection = negatives, selection
        self.head_convs = conv_tower(in_channels, channels, num_convs, norm=None)
        count = anchors.per_position
        self.conv_cls = nn.Conv2d(channels, count * (num_classes + 1), 3, padding=1)
        self.conv_reg = nn.Conv2d(channels, count * 4, 3, padding=1)
        self.conv_coeff = nn.Conv2d(channels, count * num_prototypes, 3, padding=1)
        init_conv(self, kind="xavier")

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        rows = ClassRows(repeats=self.anchors.per_position, background=True)
        return {f"conv_cls.{name}": rows for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> YOLACTOutputs:
        """Levels (N, C_in, H_i, W_i) -> logits, deltas and coefficients per level."""
        outputs = YOLACTOutputs([], [], [])
        for m in maps:
            x = self.head_convs(m)
            outputs.logits.append(self.conv_cls(x))
            outputs.deltas.append(self.conv_reg(x))
            outputs.coefficients.append(self.conv_coeff(x).tanh())
        return outputs

    def match(self, outputs: YOLACTOutputs, batch: Batch) -> Matched:
        """The object of each anchor of all levels."""
        sizes, device = map_sizes(outputs.logits), outputs.logits[0].device
        anchors = torch.cat(self.anchors.grid(sizes, device))
        covered = self.anchors.covered(sizes, image_sizes(batch, device))
        return match(anchors, covered, batch.samples, self.assigner)

    def positives(self, outputs: YOLACTOutputs, matched: Matched) -> list[Positives]:
        """Of each image the coefficients of its positive anchors and the objects that these have."""
        coefficients = flatten_levels(outputs.coefficients, self.num_prototypes)
        return [
            Positives(own[a.positive], a.objects[a.positive], boxes[a.positive])
            for own, a, boxes in zip(coefficients, matched.assignments, matched.boxes)
        ]

    def loss(self, outputs: YOLACTOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``, averaged over the positive anchors."""
        return self.losses(outputs, self.match(outputs, batch))

    def losses(self, outputs: YOLACTOutputs, matched: Matched) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox`` for anchors that are matched already."""
        logits = flatten_levels(outputs.logits, self.num_classes + 1)  # (N, P, C + 1)
        deltas = flatten_levels(outputs.deltas, 4)  # (N, P, 4)
        anchors = torch.cat(self.anchors.grid(map_sizes(outputs.logits), logits.device))
        positive = matched.positive
        labels = torch.where(positive, matched.labels, self.num_classes)
        counts = positive.sum(dim=1)
        wanted = torch.where(counts > 0, counts * self.negatives, logits.shape[1])
        used = positive | hardest(background_loss(logits.detach()), matched.negative, wanted)
        count = count_positives(positive)
        image, prior = positive.nonzero(as_tuple=True)
        target = self.coder.encode(anchors[prior], matched.boxes[image, prior])
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], avg_factor=count),
            "loss_bbox": self.box_loss(deltas[image, prior], target, avg_factor=count),
        }

    def found(self, outputs: YOLACTOutputs, batch: Batch) -> list[Candidates]:
        """The boxes of each image in transformed pixels, and the anchors that they come from."""
        sizes = image_sizes(batch, outputs.logits[0].device)
        levels = self.anchors.grid(map_sizes(outputs.logits), sizes.device)
        scores = [flatten_levels([m], self.num_classes + 1).float().softmax(2) for m in outputs.logits]
        deltas = flatten_levels(outputs.deltas, 4)
        anchors = torch.cat(levels)
        scores = [level[..., :-1] for level in scores]
        # The best anchors of each level, by their best class.
        first, places = 0, []
        for level in scores:
            best = level.amax(dim=2).topk(min(self.selection.pre_nms, level.shape[1]), dim=1).indices
            places.append(best + first)
            first += level.shape[1]
        chosen, whole = torch.cat(places, dim=1), torch.cat(scores, dim=1)
        found = []
        for i, place in enumerate(chosen):
            boxes = clip_boxes(
                self.coder.decode(anchors[place], deltas[i, place]), sizes[i].expand(len(place), 2)
            )
            kept, labels, score = self.selection(boxes, whole[i, place])
            found.append(Candidates(boxes[kept], score, labels, torch.full_like(labels, i), place[kept]))
        return found

    def predict(self, outputs: YOLACTOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        scales = box_scales(batch, outputs.logits[0].device)
        return [
            Prediction(boxes=f.boxes / scale, scores=f.scores, labels=f.labels)
            for f, scale in zip(self.found(outputs, batch), scales)
        ]


def _enlarge(masks: Tensor, padded: Size, meta: Meta) -> Tensor:
    """Masks (R, h, w) of an image padded to (H, W) in its original pixels."""
    if not len(masks):
        return masks.new_zeros(0, meta.height, meta.width)
    size = [max(1, round(n / s)) for n, s in zip(padded, reversed(meta.scale))]
    size = [max(n, least) for n, least in zip(size, (meta.height, meta.width))]
    large = F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
    return large[:, : meta.height, : meta.width]
