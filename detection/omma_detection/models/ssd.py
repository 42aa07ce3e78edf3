"""SSD (Liu et al., SSD: Single Shot MultiBox Detector, 2015), SSDLite (Sandler et al., MobileNetV2, 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import YOLO_NORM, Activation, ConvNormAct, NormKind, init_conv
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.dense import DenseHead, map_sizes
from omma_detection.models.heads.detections import Encoded, Selection, image_sizes
from omma_detection.models.heads.hard_negatives import background_loss, hardest
from omma_detection.models.heads.targets import count_positives, flatten_levels, match
from omma_detection.models.priors import CellAnchors
from omma_detection.models.single_stage import SingleStageDetector

SSDOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: class logits (N, A * (C + 1), H, W) with background last, and box deltas (N, A * 4, H, W)."""
SSD_SELECTION = Selection(score_threshold=0.02, pre_nms=1000, nms_iou=0.45, max_per_image=200)


@register
class SSD(SingleStageDetector):
    """A backbone, extra levels, and one convolution on each for classes and boxes.

    Args:
        backbone: image to feature maps.
        neck: feature maps to all levels.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: SSDHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class SSDHead(DenseHead):
    """On each level one convolution for the classes and one for the boxes of its anchors.

    Args:
        in_channels: channels of each level.
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        assigner: which anchors are objects.
        cls_loss: over positives and the hardest negatives, labels with C as background.
        box_loss: on the deltas of positives.
        negatives: hardest negatives for each positive of an image.
        depthwise: a depthwise 3x3 convolution and a 1x1 one in place of each 3x3 one (SSDLite)...
        norm: ...with this norm between them...
        act: ...and this activation.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        num_classes: int,
        anchors: CellAnchors,
        coder: DeltaCoder,
        assigner: MaxIoUAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        negatives: int = 3,
        depthwise: bool = False,
        norm: NormKind = YOLO_NORM,
        act: Activation = "relu6",
        selection: Selection = SSD_SELECTION,
    ) -> None:
        super().__init__()
        if len(in_channels) != len(anchors.strides):
            raise ValueError(f"{len(in_channels)} in_channels for anchors of {len(anchors.strides)} levels")
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.coder, self.assigner = anchors, coder, assigner
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.negatives, self.selection = negatives, selection

        def level(channels: int, out: int) -> nn.Sequential:
            if not depthwise:
                return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1))
            spread = ConvNormAct(channels, channels, 3, padding=1, groups=channels, norm=norm, act=act)
            return nn.Sequential(spread, nn.Conv2d(channels, out, 1))

        levels = list(zip(in_channels, anchors.per_position))
        self.cls_convs = nn.ModuleList(level(c, a * (num_classes + 1)) for c, a in levels)
        self.reg_convs = nn.ModuleList(level(c, a * 4) for c, a in levels)
        if depthwise:
            init_conv(self, std=0.001)
        else:
            init_conv(self, kind="xavier")

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {
            f"cls_convs.{level}.{len(tower) - 1}.{name}": ClassRows(repeats=count, background=True)
            for level, (tower, count) in enumerate(zip(self.cls_convs, self.anchors.per_position))
            if isinstance(tower, nn.Sequential)
            for name in ("weight", "bias")
        }

    def forward(self, maps: Sequence[Tensor]) -> SSDOutputs:
        """Levels (N, in_channels[i], H_i, W_i) -> class logits and deltas per level."""
        logits = [conv(m) for m, conv in zip(maps, self.cls_convs)]
        return logits, [conv(m) for m, conv in zip(maps, self.reg_convs)]

    def loss(self, outputs: SSDOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``, averaged over the positive anchors."""
        sizes, device = map_sizes(outputs[0]), outputs[0][0].device
        anchors = torch.cat(self.anchors.grid(sizes, device))
        covered = self.anchors.covered(sizes, image_sizes(batch, device))
        logits = flatten_levels(outputs[0], self.num_classes + 1)  # (N, P, C + 1)
        deltas = flatten_levels(outputs[1], 4)  # (N, P, 4)
        matched = match(anchors, covered, batch.samples, self.assigner)
        positive = matched.positive
        labels = torch.where(positive, matched.labels, self.num_classes)
        hard = hardest(background_loss(logits.detach()), matched.negative, self.negatives * positive.sum(1))
        used = positive | hard
        count = count_positives(positive)
        image, prior = positive.nonzero(as_tuple=True)
        target = self.coder.encode(anchors[prior], matched.boxes[image, prior])
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], avg_factor=count),
            "loss_bbox": self.box_loss(deltas[image, prior], target, avg_factor=count),
        }

    def predict(self, outputs: SSDOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs[0][0].device)
        levels = []
        for anchors, cls, reg in zip(self.anchors.grid(map_sizes(outputs[0]), sizes.device), *outputs):
            scores = flatten_levels([cls], self.num_classes + 1).float().softmax(dim=2)[..., :-1]
            boxes = Encoded(self.coder.decode, anchors, flatten_levels([reg], 4))
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)
