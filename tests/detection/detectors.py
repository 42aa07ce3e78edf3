"""Small detectors and batches that the tests of models share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import tv_tensors

from omma.backbones import Backbone
from omma.data.collate import collate
from omma.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, FocalLoss, IoULoss, L1Loss
from omma.model import Preprocessor
from omma.necks import FPN
from omma.structures import Batch, Meta, Sample
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.faster_rcnn import FasterRCNN, FastRCNN
from omma_detection.models.fcos import FCOS, FCOSHead
from omma_detection.models.heads import BBoxHead, MaskHead, RoIExtractor, RoIHead, RPNHead
from omma_detection.models.mask_rcnn import MaskRCNN
from omma_detection.models.priors import AnchorGenerator, PointGenerator
from omma_detection.models.retinanet import RetinaHead, RetinaNet
from omma_detection.models.rpn import RPN
from omma_detection.models.samplers import RandomBoxSampler

WIDTH = 16
CLASSES = 3
STAGES = (4, 6, 8, 10)


class TinyBackbone(Backbone):
    """One convolution for each stage: the shape of a ResNet without its cost."""

    def __init__(self) -> None:
        super().__init__()
        self.out_channels, self.strides = STAGES, (4, 8, 16, 32)
        widths = zip((3, *STAGES), STAGES)
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in widths)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for conv, factor in zip(self.convs, (4, 2, 2, 2)):
            x = conv(F.avg_pool2d(x, factor)).relu()
            maps.append(x)
        return tuple(maps)


def backbone() -> TinyBackbone:
    return TinyBackbone()


def pyramid(start_level: int = 0) -> FPN:
    return FPN(in_channels=STAGES, out_channels=WIDTH, num_outs=5, start_level=start_level)


def rpn_head(strides: tuple[int, ...] = (4, 8, 16, 32, 64), in_channels: int = WIDTH) -> RPNHead:
    return RPNHead(
        in_channels=in_channels,
        channels=WIDTH,
        anchors=AnchorGenerator(strides=strides),
        coder=DeltaCoder(),
        assigner=MaxIoUAssigner(positive_iou=0.7, negative_iou=0.3, min_positive_iou=0.3),
        sampler=RandomBoxSampler(num=64, positive_fraction=0.5),
        cls_loss=BinaryCrossEntropyLoss(),
        box_loss=L1Loss(),
        pre_nms_train=100,
        pre_nms_test=100,
        max_proposals=50,
    )


def roi_head(masks: bool = False, strides: tuple[int, ...] = (4, 8, 16, 32)) -> RoIHead:
    return RoIHead(
        assigner=MaxIoUAssigner(positive_iou=0.5, negative_iou=0.5, match_low_quality=False),
        sampler=RandomBoxSampler(num=32, positive_fraction=0.25),
        bbox_roi_extractor=RoIExtractor(strides=strides, size=7),
        bbox_head=BBoxHead(
            in_channels=WIDTH,
            fc_channels=(32, 32),
            num_classes=CLASSES,
            coder=DeltaCoder(stds=(0.1, 0.1, 0.2, 0.2)),
            cls_loss=CrossEntropyLoss(),
            box_loss=L1Loss(),
        ),
        mask_roi_extractor=RoIExtractor(strides=strides, size=14) if masks else None,
        mask_head=mask_head() if masks else None,
    )


def mask_head() -> MaskHead:
    return MaskHead(
        in_channels=WIDTH, channels=8, num_convs=2, num_classes=CLASSES, loss=BinaryCrossEntropyLoss()
    )


def retina_head(in_channels: int = WIDTH) -> RetinaHead:
    return RetinaHead(
        in_channels=in_channels,
        channels=WIDTH,
        num_convs=1,
        num_classes=CLASSES,
        anchors=AnchorGenerator(strides=(8, 16, 32, 64, 128), scales=(4.0, 5.0)),
        coder=DeltaCoder(),
        assigner=MaxIoUAssigner(positive_iou=0.5, negative_iou=0.4),
        cls_loss=FocalLoss(),
        box_loss=L1Loss(),
    )


def fcos_head(*, center_sampling: bool = False, norm_on_bbox: bool = False) -> FCOSHead:
    return FCOSHead(
        in_channels=WIDTH,
        channels=64,
        num_convs=1,
        num_classes=CLASSES,
        points=PointGenerator(strides=(8, 16, 32, 64, 128)),
        regress_ranges=((-1, 32), (32, 64), (64, 128), (128, 256), (256, float("inf"))),
        cls_loss=FocalLoss(),
        box_loss=IoULoss(),
        centerness_loss=BinaryCrossEntropyLoss(),
        center_sampling=center_sampling,
        norm_on_bbox=norm_on_bbox,
    )


def rpn() -> RPN:
    return RPN(backbone=backbone(), neck=pyramid(), rpn_head=rpn_head(), preprocessor=Preprocessor())


def fast_rcnn() -> FastRCNN:
    return FastRCNN(backbone=backbone(), neck=pyramid(), roi_head=roi_head(), preprocessor=Preprocessor())


def faster_rcnn() -> FasterRCNN:
    return FasterRCNN(
        backbone=backbone(),
        neck=pyramid(),
        rpn_head=rpn_head(),
        roi_head=roi_head(),
        preprocessor=Preprocessor(),
    )


def mask_rcnn() -> MaskRCNN:
    return MaskRCNN(
        backbone=backbone(),
        neck=pyramid(),
        rpn_head=rpn_head(),
        roi_head=roi_head(masks=True),
        preprocessor=Preprocessor(),
    )


def retinanet() -> RetinaNet:
    return RetinaNet(
        backbone=backbone(), neck=pyramid(1), bbox_head=retina_head(), preprocessor=Preprocessor()
    )


def fcos() -> FCOS:
    return FCOS(backbone=backbone(), neck=pyramid(1), bbox_head=fcos_head(), preprocessor=Preprocessor())


DETECTORS = {build.__name__: build for build in (rpn, fast_rcnn, faster_rcnn, mask_rcnn, retinanet, fcos)}


def sample(
    boxes: list[list[float]], size: tuple[int, int], scale: float = 1.0, labels: int = CLASSES
) -> Sample:
    """Objects with filled boxes as masks and as proposals, on an image of ``size`` (H, W)."""
    corners = torch.tensor(boxes).reshape(-1, 4)
    masks = torch.zeros(len(corners), *size, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, corners.int().tolist()):
        mask[y1:y2, x1:x2] = 1
    grid = torch.tensor([[0.0, 0, 40, 40], [20, 10, 60, 50], [0, 0, size[1], size[0]]])
    return Sample(
        boxes=tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size),
        labels=torch.arange(len(corners)) % labels,
        masks=tv_tensors.Mask(masks),
        semantic=tv_tensors.Mask(masks.amax(dim=0) if len(masks) else torch.zeros(size, dtype=torch.uint8)),
        proposals=tv_tensors.BoundingBoxes(torch.cat([grid, corners + 2]), format="XYXY", canvas_size=size),
        meta=Meta(
            index=0,
            id=0,
            path="picture.jpg",
            height=round(size[0] / scale),
            width=round(size[1] / scale),
            scale=(scale, scale),
        ),
    )


def batch(*samples: Sample) -> Batch:
    """A random image for each sample, collated as the loader does it."""
    generator = torch.Generator().manual_seed(0)
    whole = []
    for each in samples:
        size = each["masks"].shape[-2:]
        image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        whole.append(Sample(**each, image=tv_tensors.Image(image)))
    return collate(whole)


def flat(outputs: Any) -> list[Tensor]:
    """All tensors of a nested output."""
    if isinstance(outputs, Tensor):
        return [outputs]
    parts = outputs.values() if isinstance(outputs, dict) else outputs
    return [tensor for part in parts if part is not None for tensor in flat(part)]


TWO_OBJECTS = [[10.0, 12, 70, 60], [40.0, 30, 90, 95]]
"""xyxy, within 96 x 128 pixels."""
