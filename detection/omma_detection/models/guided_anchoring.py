"""Guided anchoring (Wang et al., Region Proposal by Guided Anchoring, 2019) in an RPN and in RetinaNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import MaskedConv2d, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.dense import DenseHead, conv_tower
from omma_detection.models.heads.detections import Candidates, Selection, image_sizes
from omma_detection.models.heads.guide import AnchorGuide, FeatureAdaption
from omma_detection.models.heads.rpn_head import ProposalHead, best_proposals
from omma_detection.models.heads.targets import count_positives, draw, flatten_levels, match
from omma_detection.models.samplers import BoxSampler
from omma_detection.models.single_stage import SingleStageDetector

_SELECTION = Selection(nms_iou=0.5)


class GuidedOutputs(NamedTuple):
    """Raw maps per level. In eval mode logits and deltas are zero where there is no anchor."""

    logits: list[Tensor]
    """(N, C, H, W)"""
    deltas: list[Tensor]
    """(N, 4, H, W)"""
    shapes: list[Tensor]
    """(N, 2, H, W): of the anchors."""
    locations: list[Tensor]
    """(N, 1, H, W): logits of an anchor being there."""


@register
class GARPNHead(ProposalHead):
    """A proposal head that first finds where anchors are to be and how large, then looks at what is in them.

    Args:
        in_channels: channels of every level.
        channels: width of the hidden convolutions.
        deform_groups: groups of channels with offsets of their own.
        guide: the anchors and what they learn.
        coder: box coder on them.
        assigner: which of them are objects.
        sampler: which of them enter the losses.
        cls_loss: on objectness.
        box_loss: on the deltas of positives.
        pre_nms_train: best anchors of each level that go into NMS in training.
        pre_nms_test: likewise in prediction.
        max_proposals: proposals per image.
        nms_iou: threshold of NMS within a level.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        deform_groups: int = 4,
        guide: AnchorGuide,
        coder: DeltaCoder,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        cls_loss: Loss,
        box_loss: Loss,
        pre_nms_train: int = 2000,
        pre_nms_test: int = 1000,
        max_proposals: int = 1000,
        nms_iou: float = 0.7,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = guide.anchors.strides
        self.num_classes = 1
        self.guide, self.coder, self.assigner, self.sampler = guide, coder, assigner, sampler
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.pre_nms_train, self.pre_nms_test = pre_nms_train, pre_nms_test
        self.max_proposals, self.nms_iou = max_proposals, nms_iou
        self.rpn_conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.conv_loc = nn.Conv2d(channels, 1, 1)
        self.conv_shape = nn.Conv2d(channels, 2, 1)
        self.feature_adaption = FeatureAdaption(channels, deform_groups)
        self.conv_cls = MaskedConv2d(channels, 1, 1)
        self.conv_reg = MaskedConv2d(channels, 4, 1)
        init_conv(self, std=0.01)
        init_conv(self.conv_loc, std=0.01, bias=prior_bias(0.01))
        self.feature_adaption.reset_parameters()

    def forward(self, maps: Sequence[Tensor]) -> GuidedOutputs:
        """Levels (N, C, H_i, W_i) -> raw maps per level."""
        out = GuidedOutputs([], [], [], [])
        for m in maps:
            hidden = self.rpn_conv(m).relu()
            location, shape = self.conv_loc(hidden), self.conv_shape(hidden)
            adapted = self.feature_adaption(hidden, shape)
            mask = None if self.training else self.guide.kept(location)
            out.logits.append(self.conv_cls(adapted, mask))
            out.deltas.append(self.conv_reg(adapted, mask))
            out.shapes.append(shape)
            out.locations.append(location)
        return out

    def loss(self, outputs: GuidedOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_rpn_cls``, ``loss_rpn_bbox``, ``loss_anchor_shape`` and ``loss_anchor_loc``."""
        anchors = torch.cat(self.guide.anchors_of(outputs.shapes), dim=1)
        covered = self.guide.covered(outputs.logits, batch)
        matched = match(anchors, covered, batch.samples, self.assigner)
        positive, used, count = draw(matched.assignments, self.sampler)
        count = normalizer(count)
        image, prior = positive.nonzero(as_tuple=True)
        logits, deltas = flatten_levels(outputs.logits, 1)[..., 0], flatten_levels(outputs.deltas, 4)
        target = self.coder.encode(anchors[image, prior], matched.boxes[image, prior])
        return {
            "loss_rpn_cls": self.cls_loss(logits[used], positive[used], avg_factor=count),
            "loss_rpn_bbox": self.box_loss(deltas[image, prior], target, avg_factor=count),
            "loss_anchor_shape": self.guide.losses_of_shapes(outputs.shapes, batch),
            "loss_anchor_loc": self.guide.losses_of_locations(outputs.locations, batch),
        }

    @torch.no_grad()
    def propose(self, outputs: GuidedOutputs, batch: Batch, *, training: bool) -> list[Candidates]:
        """Scored boxes of each image, in transformed pixels, by falling score."""
        anchors = self.guide.anchors_of(outputs.shapes)
        scores = [each[..., 0] for each in _scores(self, outputs)]
        deltas = [flatten_levels([each], 4) for each in outputs.deltas]
        return best_proposals(
            list(zip(anchors, scores, deltas)),
            batch,
            coder=self.coder,
            pre_nms=self.pre_nms_train if training else self.pre_nms_test,
            nms_iou=self.nms_iou,
            max_per_image=self.max_proposals,
        )


@register
class GARetinaNet(SingleStageDetector):
    """RetinaNet with one guided anchor at every position.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: GARetinaHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class GARetinaHead(DenseHead):
    """Two towers, the anchor from both of them, then class scores and deltas from what is in it.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        deform_groups: groups of channels with offsets of their own.
        guide: the anchors and what they learn.
        coder: box coder on them.
        assigner: which of them are objects.
        cls_loss: over positives and negatives, labels with C as background.
        box_loss: on the deltas of positives.
        selection: which boxes become predictions; ``pre_nms`` counts positions, whatever their classes.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 4,
        num_classes: int,
        deform_groups: int = 4,
        guide: AnchorGuide,
        coder: DeltaCoder,
        assigner: MaxIoUAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        selection: Selection = _SELECTION,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = guide.anchors.strides
        self.num_classes = num_classes
        self.guide, self.coder, self.assigner = guide, coder, assigner
        self.cls_loss, self.box_loss, self.selection = cls_loss, box_loss, selection
        self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=None)
        self.reg_convs = conv_tower(in_channels, channels, num_convs, norm=None)
        self.conv_loc = nn.Conv2d(channels, 1, 1)
        self.conv_shape = nn.Conv2d(channels, 2, 1)
        self.feature_adaption_cls = FeatureAdaption(channels, deform_groups)
        self.feature_adaption_reg = FeatureAdaption(channels, deform_groups)
        self.retina_cls = MaskedConv2d(channels, num_classes, 3, padding=1)
        self.retina_reg = MaskedConv2d(channels, 4, 3, padding=1)
        init_conv(self, std=0.01)
        for last in (self.conv_loc, self.retina_cls):
            init_conv(last, std=0.01, bias=prior_bias(0.01))
        for adaption in (self.feature_adaption_cls, self.feature_adaption_reg):
            adaption.reset_parameters()

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"retina_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> GuidedOutputs:
        """Levels (N, C_in, H_i, W_i) -> raw maps per level."""
        out = GuidedOutputs([], [], [], [])
        for m in maps:
            cls, reg = self.cls_convs(m), self.reg_convs(m)
            location, shape = self.conv_loc(cls), self.conv_shape(reg)
            mask = None if self.training else self.guide.kept(location)
            out.logits.append(self.retina_cls(self.feature_adaption_cls(cls, shape), mask))
            out.deltas.append(self.retina_reg(self.feature_adaption_reg(reg, shape), mask))
            out.shapes.append(shape)
            out.locations.append(location)
        return out

    def loss(self, outputs: GuidedOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox``, ``loss_shape`` and ``loss_loc``."""
        anchors = torch.cat(self.guide.anchors_of(outputs.shapes), dim=1)
        covered = self.guide.covered(outputs.logits, batch)
        matched = match(anchors, covered, batch.samples, self.assigner)
        positive = matched.positive
        used = positive | matched.negative
        labels = torch.where(positive, matched.labels, self.num_classes)
        count = count_positives(positive)
        image, prior = positive.nonzero(as_tuple=True)
        logits, deltas = flatten_levels(outputs.logits, self.num_classes), flatten_levels(outputs.deltas, 4)
        target = self.coder.encode(anchors[image, prior], matched.boxes[image, prior])
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], avg_factor=count),
            "loss_bbox": self.box_loss(deltas[image, prior], target, avg_factor=count),
            "loss_shape": self.guide.losses_of_shapes(outputs.shapes, batch),
            "loss_loc": self.guide.losses_of_locations(outputs.locations, batch),
        }

    def predict(self, outputs: GuidedOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs.logits[0].device)
        levels = []
        for anchors, scores, reg in zip(
            self.guide.anchors_of(outputs.shapes), _scores(self, outputs), outputs.deltas
        ):
            boxes = self.coder.decode(anchors, flatten_levels([reg], 4))
            levels.append(self.selection.candidates_at_best(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)


def _scores(head: GARPNHead | GARetinaHead, outputs: GuidedOutputs) -> list[Tensor]:
    """Class scores (N, H * W, C) of each level; in eval mode 0 where there is no anchor."""
    scores = [flatten_levels([each], head.num_classes).float().sigmoid() for each in outputs.logits]
    if head.training:
        return scores
    kept = [head.guide.kept(each).flatten(1)[..., None] for each in outputs.locations]
    return [torch.where(k, s, 0) for k, s in zip(kept, scores)]
