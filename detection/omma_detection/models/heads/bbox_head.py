"""Class and box of a region (Girshick, Fast R-CNN, 2015; Lin et al., FPN, 2016)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from omma.layers import NormKind, init_conv
from omma.losses import Loss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders.delta import DeltaCoder, clip_boxes
from omma_detection.models.heads.dense import conv_tower
from omma_detection.models.heads.detections import (
    Candidates,
    box_scales,
    image_sizes,
    suppress,
)


@register
class BBoxHead(nn.Module):
    """Shared fully connected layers, then class scores (background last) and box deltas per class.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width.
        num_convs: shared 3x3 convolutions in front.
        conv_channels: their width.
        norm: kind of norm in them.
        pool: average the region before the layers.
        fc_channels: widths of the shared layers.
        num_classes: C, without background.
        coder: box coder.
        cls_loss: softmax loss over C + 1 classes.
        box_loss: on the deltas of the object's class.
        class_agnostic: one box for all classes.
        score_threshold: lowest score of a prediction.
        nms_iou: threshold of NMS within a class.
        max_per_image: predictions per image.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        roi_size: int = 7,
        num_convs: int = 0,
        conv_channels: int = 256,
        norm: NormKind | None = None,
        pool: bool = False,
        fc_channels: tuple[int, ...] = (1024, 1024),
        num_classes: int,
        coder: DeltaCoder,
        cls_loss: Loss,
        box_loss: Loss,
        class_agnostic: bool = False,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        max_per_image: int = 100,
    ) -> None:
        super().__init__()
        if num_classes < 1 or not (fc_channels or pool):
            raise ValueError(f"need at least one class and one layer, got {num_classes} and {fc_channels}")
        self.in_channels = in_channels
        self.roi_size = roi_size
        self.num_classes = num_classes
        self.coder, self.cls_loss, self.box_loss = coder, cls_loss, box_loss
        self.class_agnostic = class_agnostic
        self.score_threshold, self.nms_iou, self.max_per_image = score_threshold, nms_iou, max_per_image
        self.pool = pool
        if num_convs:
            self.shared_convs = conv_tower(in_channels, conv_channels, num_convs, norm=norm)
        else:
            self.shared_convs = nn.ModuleList()
        seen = conv_channels if num_convs else in_channels
        widths = (seen if pool else seen * roi_size**2, *fc_channels)
        self.shared_fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.fc_cls = nn.Linear(widths[-1], num_classes + 1)
        self.fc_reg = nn.Linear(widths[-1], 4 if class_agnostic else 4 * num_classes)
        init_conv(self.shared_convs, kind="kaiming")
        init_conv(self.shared_fcs, kind="xavier")
        init_conv(self.fc_cls, std=0.01)
        init_conv(self.fc_reg, std=0.001)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        rows = {f"fc_cls.{name}": ClassRows(background=True) for name in ("weight", "bias")}
        if not self.class_agnostic:
            rows |= {f"fc_reg.{name}": ClassRows(per_class=4) for name in ("weight", "bias")}
        return rows

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (R, C_in, S, S) -> class logits (R, C + 1) and deltas (R, 4 C) or (R, 4)."""
        for conv in self.shared_convs:
            features = conv(features)
        x = features.mean(dim=(2, 3)) if self.pool else features.flatten(1)
        for layer in self.shared_fcs:
            x = layer(x).relu()
        return self.fc_cls(x), self.fc_reg(x)

    def loss(
        self, outputs: tuple[Tensor, Tensor], rois: Tensor, boxes: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Losses over R sampled regions.

        Args:
            outputs: of ``forward``.
            rois: (R, 5).
            boxes: (R, 4) box of each region's object; anything for background.
            labels: (R,) class of each region's object; C for background.
        """
        logits, deltas = outputs
        count = normalizer(len(labels))
        positive = (labels < self.num_classes).nonzero()[:, 0]
        deltas = deltas.unflatten(1, (-1, 4))
        chosen = deltas[positive, 0 if self.class_agnostic else labels[positive]]
        target = self.coder.encode(rois[positive, 1:], boxes[positive])
        return {
            "loss_cls": self.cls_loss(logits, labels, avg_factor=count),
            "loss_bbox": self.box_loss(chosen, target, avg_factor=count),
        }

    def predict(self, outputs: tuple[Tensor, Tensor], rois: Tensor, batch: Batch) -> list[Candidates]:
        """The detections of each image in original pixels."""
        logits, deltas = outputs
        scores = logits.float().softmax(dim=1)[:, :-1]
        image = rois[:, 0].long()
        boxes = self.coder.decode(rois[:, None, 1:], deltas.unflatten(1, (-1, 4)))  # (R, C or 1, 4)
        boxes = clip_boxes(boxes, image_sizes(batch, rois.device)[image])
        boxes = boxes / box_scales(batch, rois.device)[image][:, None]
        region, label = (scores > self.score_threshold).nonzero(as_tuple=True)
        chosen = boxes[region, torch.zeros_like(label) if self.class_agnostic else label]
        found = Candidates(chosen, scores[region, label], label, image[region])
        return suppress(found, len(batch), iou_threshold=self.nms_iou, max_per_image=self.max_per_image)
