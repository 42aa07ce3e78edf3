"""Double-Head R-CNN (Wu et al., Rethinking Classification and Localization for Object Detection, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from omma.layers import ConvNormAct, init_conv
from omma.losses import Loss
from omma.registry import register
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders.delta import DeltaCoder
from omma_detection.models.heads.bbox_head import DeltaBoxHead
from omma_detection.models.heads.detections import SoftNMS
from omma_detection.models.heads.region_box_head import BoxOutputs
from omma_detection.models.heads.roi_extractor import RoIExtractor
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.samplers import BoxSampler


@register
class DoubleHeadRoIHead(RoIHead):
    """Boxes are regressed from larger regions than classes are read from.

    Args:
        assigner: which proposals are objects.
        sampler: which proposals enter the losses.
        bbox_roi_extractor: features for both branches.
        bbox_head: the two branches.
        reg_scale: size of the regions of the box branch, in proposals.
    """

    bbox_head: DoubleBBoxHead

    def __init__(
        self,
        *,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        bbox_roi_extractor: RoIExtractor,
        bbox_head: DoubleBBoxHead,
        reg_scale: float = 1.3,
    ) -> None:
        super().__init__(
            assigner=assigner, sampler=sampler, bbox_roi_extractor=bbox_roi_extractor, bbox_head=bbox_head
        )
        self.reg_scale = reg_scale

    def box_outputs(self, maps: Sequence[Tensor], rois: Tensor) -> BoxOutputs:
        """Both branches' outputs for rois (R, 5)."""
        larger = self.bbox_roi_extractor(maps, rois, enlarge=self.reg_scale)
        return self.bbox_head(self.bbox_roi_extractor(maps, rois), larger)


@register
class DoubleBBoxHead(DeltaBoxHead):
    """Classes by fully connected layers, boxes by convolutions.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width.
        num_convs: bottlenecks of the box branch.
        conv_channels: their width.
        fc_channels: widths of the class branch's layers.
        num_classes: C, without background.
        coder: box coder.
        cls_loss: softmax loss over C + 1 classes.
        box_loss: on the deltas of the object's class, or on its box.
        decoded_loss: whether ``box_loss`` compares boxes.
        class_agnostic: one box for all classes.
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
        num_convs: int = 4,
        conv_channels: int = 1024,
        fc_channels: tuple[int, ...] = (1024, 1024),
        num_classes: int,
        coder: DeltaCoder,
        cls_loss: Loss,
        box_loss: Loss,
        decoded_loss: bool = False,
        class_agnostic: bool = False,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        soft_nms: SoftNMS | None = None,
        max_per_image: int = 100,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            roi_size=roi_size,
            num_classes=num_classes,
            coder=coder,
            cls_loss=cls_loss,
            box_loss=box_loss,
            decoded_loss=decoded_loss,
            class_agnostic=class_agnostic,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            soft_nms=soft_nms,
            max_per_image=max_per_image,
        )
        if not fc_channels:
            raise ValueError("fc_channels must not be empty")
        self.res_block = _WideningBlock(in_channels, conv_channels)
        self.conv_branch = nn.ModuleList(_Bottleneck(conv_channels) for _ in range(num_convs))
        widths = (in_channels * roi_size**2, *fc_channels)
        self.fc_branch = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.add_predictors(widths[-1], conv_channels)
        init_conv(self.fc_branch, kind="xavier")

    def forward(self, cls_features: Tensor, reg_features: Tensor) -> BoxOutputs:
        """Features (R, C_in, S, S) for classes and for boxes -> logits (R, C + 1) and deltas (R, 4 C)."""
        reg = self.res_block(reg_features)
        for block in self.conv_branch:
            reg = block(reg)
        cls = cls_features.flatten(1)
        for layer in self.fc_branch:
            cls = layer(cls).relu()
        return self.read(cls, reg.mean(dim=(2, 3)))


class _WideningBlock(nn.Module):
    """3x3 and 1x1 convolutions beside a 1x1 convolution, to more channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(in_channels, in_channels, 3, padding=1, norm="bn")
        self.conv2 = ConvNormAct(in_channels, out_channels, 1, norm="bn", act=None)
        self.conv_identity = ConvNormAct(in_channels, out_channels, 1, norm="bn", act=None)
        init_conv(self, kind="kaiming")

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + self.conv_identity(x)).relu()


class _Bottleneck(nn.Module):
    """ResNet's bottleneck of a constant width and without stride."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 4
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)
        init_conv(self, kind="kaiming")

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu()
        out = self.bn2(self.conv2(out)).relu()
        return (x + self.bn3(self.conv3(out))).relu()
