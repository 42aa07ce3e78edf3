"""RetinaNet (Lin et al., Focal Loss for Dense Object Detection, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders.delta import DeltaCoder, clip_boxes
from omma_detection.models.heads.dense import DenseHead, conv_tower
from omma_detection.models.heads.detections import Candidates, image_sizes, to_predictions, top_candidates
from omma_detection.models.heads.targets import flatten_levels, match
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.single_stage import SingleStageDetector

RetinaOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: class logits (N, A * C, H, W) and box deltas (N, A * 4, H, W)."""


@register
class RetinaNet(SingleStageDetector):
    """A pyramid and one head of anchors on all of its levels.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the anchor head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: RetinaHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class RetinaHead(DenseHead):
    """Two towers of convolutions, then class scores and deltas for A anchors at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        assigner: which anchors are objects.
        cls_loss: over positives and negatives, labels with C as background.
        box_loss: on the deltas of positives.
        norm: kind of norm in the towers.
        norm_per_level: norms of their own for each level, around the same convolutions.
        score_threshold: lowest score of a prediction.
        pre_nms: best (anchor, class) pairs of each level that go into NMS.
        nms_iou: threshold of NMS within a class.
        max_per_image: predictions per image.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 4,
        num_classes: int,
        anchors: AnchorGenerator,
        coder: DeltaCoder,
        assigner: MaxIoUAssigner,
        cls_loss: Loss,
        box_loss: Loss,
        norm: NormKind | None = None,
        norm_per_level: bool = False,
        score_threshold: float = 0.05,
        pre_nms: int = 1000,
        nms_iou: float = 0.5,
        max_per_image: int = 100,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.coder, self.assigner = anchors, coder, assigner
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.score_threshold, self.pre_nms = score_threshold, pre_nms
        self.nms_iou, self.max_per_image = nms_iou, max_per_image
        self.norm_per_level = norm_per_level
        towers = len(anchors.strides) if norm_per_level else 1
        cls_towers, reg_towers = (
            shared_towers(in_channels, channels, num_convs, norm=norm, towers=towers) for _ in range(2)
        )
        self.cls_convs = cls_towers if norm_per_level else cls_towers[0]
        self.reg_convs = reg_towers if norm_per_level else reg_towers[0]
        self.retina_cls = nn.Conv2d(channels, anchors.per_position * num_classes, 3, padding=1)
        self.retina_reg = nn.Conv2d(channels, anchors.per_position * 4, 3, padding=1)
        init_conv(self, std=0.01)
        init_conv(self.retina_cls, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        rows = ClassRows(repeats=self.anchors.per_position)
        return {f"retina_cls.{name}": rows for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> RetinaOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits and deltas per level."""
        logits, deltas = [], []
        for level, m in enumerate(maps):
            cls, reg = m, m
            for cls_conv, reg_conv in zip(*self._towers(level)):
                cls, reg = cls_conv(cls), reg_conv(reg)
            logits.append(self.retina_cls(cls))
            deltas.append(self.retina_reg(reg))
        return logits, deltas

    def _towers(self, level: int) -> list[list[nn.Module]]:
        both = (self.cls_convs, self.reg_convs)
        if self.norm_per_level:
            return [list(list(towers.children())[level].children()) for towers in both]
        return [list(tower.children()) for tower in both]

    def loss(self, outputs: RetinaOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``, averaged over the positive anchors."""
        anchors = torch.cat(self._grid(outputs[0]))
        logits = flatten_levels(outputs[0], self.num_classes)  # (N, P, C)
        deltas = flatten_levels(outputs[1], 4)  # (N, P, 4)
        matched = match(anchors, self._covered(outputs[0], batch), batch.samples, self.assigner)
        positive = matched.positive
        used = positive | matched.negative
        labels = torch.where(positive, matched.labels, self.num_classes)
        # Each image counts at least once, so that images without objects don't raise the average.
        count = normalizer(positive.sum(dim=1).clamp(min=1).sum())
        image, prior = positive.nonzero(as_tuple=True)
        target = self.coder.encode(anchors[prior], matched.boxes[image, prior])
        return {
            "loss_cls": self.cls_loss(logits[used], labels[used], avg_factor=count),
            "loss_bbox": self.box_loss(deltas[image, prior], target, avg_factor=count),
        }

    def predict(self, outputs: RetinaOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs[0][0].device)
        levels = []
        for anchors, cls, reg in zip(self._grid(outputs[0]), *outputs):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            image, anchor, label, score = top_candidates(scores, self.score_threshold, self.pre_nms)
            boxes = self.coder.decode(anchors[anchor], flatten_levels([reg], 4)[image, anchor])
            levels.append(Candidates(clip_boxes(boxes, sizes[image]), score, label, image))
        return to_predictions(levels, batch, iou_threshold=self.nms_iou, max_per_image=self.max_per_image)

    def _covered(self, maps: Sequence[Tensor], batch: Batch) -> Tensor:
        return self.anchors.covered(
            [(m.shape[-2], m.shape[-1]) for m in maps], image_sizes(batch, maps[0].device)
        )

    def _grid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return self.anchors.grid([(m.shape[-2], m.shape[-1]) for m in maps], maps[0].device)


def shared_towers(
    in_channels: int, channels: int, count: int, *, norm: NormKind | None, towers: int
) -> nn.ModuleList:
    """Towers of convolutions that share their weights and have norms of their own.

    The weights have one name in each tower, as in OpenMMLab's checkpoints.
    """
    made = [conv_tower(in_channels, channels, count, norm=norm) for _ in range(towers)]
    for tower in made[1:]:
        for first, other in zip(made[0].children(), tower.children()):
            other.conv = first.conv
    return nn.ModuleList(made)
