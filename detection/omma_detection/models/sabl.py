"""Side-aware boundary localisation (Wang et al., SABL, 2019)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, init_conv
from omma.losses import Loss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders.bucket import BucketCoder
from omma_detection.models.heads.detections import SoftNMS
from omma_detection.models.heads.region_box_head import BoxOutputs, RegionBoxHead


@register
class SABLBoxHead(RegionBoxHead):
    """Each side of a box is found in a row of buckets and shifted within the best one.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width; half of the coder's buckets.
        fc_channels: widths of the class branch's layers.
        num_convs: convolutions before the region is squeezed to a row and a column.
        num_classes: C, without background.
        coder: box coder.
        cls_loss: softmax loss over C + 1 classes.
        bucket_loss: sigmoid loss on the scores of buckets.
        offset_loss: on the shifts.
        score_threshold: lowest score of a prediction.
        nms_iou: threshold of NMS within a class.
        soft_nms: lower the scores of overlapping boxes instead of dropping the boxes.
        max_per_image: predictions per image.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        roi_size: int = 7,
        fc_channels: tuple[int, ...] = (1024,),
        num_convs: int = 2,
        num_classes: int,
        coder: BucketCoder,
        cls_loss: Loss,
        bucket_loss: Loss,
        offset_loss: Loss,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        soft_nms: SoftNMS | None = None,
        max_per_image: int = 100,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            roi_size=roi_size,
            num_classes=num_classes,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            soft_nms=soft_nms,
            max_per_image=max_per_image,
        )
        if coder.buckets != 2 * roi_size or not fc_channels:
            raise ValueError(f"need coder.buckets of 2 * roi_size, got {coder.buckets} and {roi_size}")
        self.coder, self.loss_cls = coder, cls_loss
        self.bucket_loss, self.offset_loss = bucket_loss, offset_loss
        widths = (in_channels * roi_size**2, *fc_channels)
        c = in_channels
        self.cls_fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.upsample_x = nn.ConvTranspose1d(c, c, 2, stride=2)
        self.upsample_y = nn.ConvTranspose1d(c, c, 2, stride=2)
        self.reg_pre_convs = nn.ModuleList(ConvNormAct(c, c, 3, padding=1) for _ in range(num_convs))
        self.reg_post_conv_xs = nn.ModuleList([_RowConv(c, (1, 3))])
        self.reg_post_conv_ys = nn.ModuleList([_RowConv(c, (3, 1))])
        self.reg_conv_att_x = nn.Conv2d(c, 1, 1)
        self.reg_conv_att_y = nn.Conv2d(c, 1, 1)
        self.fc_cls = nn.Linear(widths[-1], num_classes + 1)
        self.fc_reg_cls = nn.Linear(c, 1)
        self.fc_reg_offset = nn.Linear(c, 1)
        init_conv(self.cls_fcs, kind="xavier")
        for layer in (self.reg_conv_att_x, self.reg_conv_att_y, self.fc_reg_cls, self.fc_cls):
            init_conv(layer, std=0.01)
        init_conv(self.fc_reg_offset, std=0.001)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"fc_cls.{name}": ClassRows(background=True) for name in ("weight", "bias")}

    def forward(self, features: Tensor) -> BoxOutputs:
        """Features (R, C_in, S, S) -> class logits (R, C + 1), bucket logits and shifts (R, 4 S)."""
        cls = features.flatten(1)
        for layer in self.cls_fcs:
            cls = layer(cls).relu()
        for conv in self.reg_pre_convs:
            features = conv(features)
        row, column = self._squeeze(features)
        scores = torch.cat([self._sides(self.fc_reg_cls(x)[..., 0]) for x in (row, column)], dim=1)
        offsets = torch.cat([self._sides(self.fc_reg_offset(x)[..., 0]) for x in (row, column)], dim=1)
        return self.fc_cls(cls), scores, offsets

    def loss(self, outputs: BoxOutputs, rois: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``loss_cls``, ``loss_bbox_cls`` and ``loss_bbox_reg``, averaged over all regions."""
        logits, scores, offsets = outputs
        count = normalizer(len(labels))
        positive = (labels < self.num_classes).nonzero()[:, 0]
        target = self.coder.encode(rois[positive, 1:], boxes[positive])
        scores, offsets = (each[positive].unflatten(1, (4, -1)) for each in (scores, offsets))
        return {
            "loss_cls": self.loss_cls(logits, labels, avg_factor=count),
            "loss_bbox_cls": self.bucket_loss(
                scores, target.nearest, weight=target.counted, avg_factor=4 * count
            ),
            "loss_bbox_reg": self.offset_loss(
                offsets, target.offsets, weight=target.regressed, avg_factor=count
            ),
        }

    def boxes(self, outputs: BoxOutputs, rois: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor | None]:
        """(R, 1, 4) within the middles of the last pixels, and how sure the sides are, (R,)."""
        _, scores, offsets = outputs
        found, sure = self.coder.decode(
            rois[:, 1:], scores.unflatten(1, (4, -1)), offsets.unflatten(1, (4, -1))
        )
        limit = sizes[rois[:, 0].long()][:, [1, 0, 1, 0]] - 1
        return found.clamp(min=0).minimum(limit.to(found.dtype))[:, None], sure

    def _squeeze(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features along x and along y, (R, 2 S, C_in) each, weighted by attention across."""
        across = self.reg_conv_att_x(features).sigmoid()
        row = (features * across / across.sum(dim=2, keepdim=True)).sum(dim=2, keepdim=True)
        across = self.reg_conv_att_y(features).sigmoid()
        column = (features * across / across.sum(dim=3, keepdim=True)).sum(dim=3, keepdim=True)
        for conv_x, conv_y in zip(self.reg_post_conv_xs, self.reg_post_conv_ys):
            row, column = conv_x(row), conv_y(column)
        row, column = self.upsample_x(row[:, :, 0]).relu(), self.upsample_y(column[..., 0]).relu()
        return row.transpose(1, 2), column.transpose(1, 2)

    def _sides(self, values: Tensor) -> Tensor:
        """Values along an axis (R, 2 S) -> those of its low side and, from the end, of its high one."""
        half = values.shape[1] // 2
        return torch.cat([values[:, :half], values[:, half:].flip(1)], dim=1)


class _RowConv(nn.Module):
    """A convolution along a row or a column, and ReLU."""

    def __init__(self, channels: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=(kernel[0] // 2, kernel[1] // 2))
        init_conv(self, kind="kaiming")

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).relu()
