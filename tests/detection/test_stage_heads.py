"""Detectors whose region head is a stage of the backbone, with several branches, with norms per level."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omma.backbones import ResNet, ResNetStage, TridentResNet
from omma.losses import CrossEntropyLoss, FocalLoss, L1Loss
from omma.model import Preprocessor
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders.delta import DeltaCoder
from omma_detection.models.faster_rcnn import FasterRCNN
from omma_detection.models.heads.bbox_head import BBoxHead
from omma_detection.models.heads.roi_extractor import RoIExtractor
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.retinanet import RetinaHead
from omma_detection.models.samplers import RandomBoxSampler
from omma_detection.models.trident import TridentFasterRCNN

from .detectors import CLASSES, TWO_OBJECTS, batch, rpn_head, sample

SIZE = (96, 128)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def stage_head(depth, channels: int, *, add_objects: bool = True, num: int = 32) -> RoIHead:
    return RoIHead(
        assigner=MaxIoUAssigner(positive_iou=0.5, negative_iou=0.5, match_low_quality=False),
        sampler=RandomBoxSampler(num=num, positive_fraction=0.25),
        bbox_roi_extractor=RoIExtractor(strides=(16,), size=8),
        shared_head=ResNetStage(depth=depth),
        add_objects=add_objects,
        bbox_head=BBoxHead(
            in_channels=channels,
            roi_size=4,
            pool=True,
            fc_channels=(),
            num_classes=CLASSES,
            coder=DeltaCoder(stds=(0.1, 0.1, 0.2, 0.2)),
            cls_loss=CrossEntropyLoss(),
            box_loss=L1Loss(),
        ),
    )


def c4() -> FasterRCNN:
    return FasterRCNN(
        backbone=ResNet(depth=18, out_indices=(2,)),
        rpn_head=rpn_head((16,), in_channels=256),
        roi_head=stage_head(18, 512),
        preprocessor=Preprocessor(),
    )


def trident() -> TridentFasterRCNN:
    return TridentFasterRCNN(
        backbone=TridentResNet(depth=50, branch_dilations=(1, 2)),
        rpn_head=rpn_head((16,), in_channels=1024),
        roi_head=stage_head(50, 2048, add_objects=False),
        preprocessor=Preprocessor(),
    )


@pytest.mark.parametrize("build", [c4, trident])
def test_all_that_isn_t_frozen_learns_with_and_without_objects(build):
    model = build().train()
    losses = model.loss(batch(sample(TWO_OBJECTS, SIZE), sample([], (64, 96))))
    assert all(loss.isfinite() for loss in losses.values())
    torch.stack(list(losses.values())).sum().backward()
    assert [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


@torch.no_grad()
def test_a_region_head_behind_a_stage_predicts_for_each_image():
    found = c4().eval().predict(batch(sample(TWO_OBJECTS, SIZE), sample([], (64, 96))))
    assert len(found) == 2
    assert all(f["boxes"].shape[1] == 4 for f in found)


@torch.no_grad()
def test_one_branch_detects():
    model = trident().eval()
    data = batch(sample(TWO_OBJECTS, SIZE))
    assert model.features(data.images)[0].shape[0] == 1
    assert len(model.predict(data)) == 1
    assert model.train().features(data.images)[0].shape[0] == 2


def test_objects_are_no_proposals_unless_asked_for():
    far = torch.tensor([[60.0, 60, 90, 90]])
    data = batch(sample([[10.0, 10, 40, 40]], SIZE))
    for add, positives in ((True, 1), (False, 0)):
        regions = stage_head(18, 512, add_objects=add).sample([torch.zeros(1, 256, 6, 8)], [far], data)
        assert len(regions[0].objects) == positives


def test_fewer_proposals_go_into_training_than_into_prediction():
    head = rpn_head((16,))
    head.max_proposals_train = 3
    outputs = head([torch.randn(1, head.in_channels, 6, 8)])
    counts = [
        len(head.propose(outputs, batch(sample([], SIZE)), training=t)[0].scores) for t in (True, False)
    ]
    assert counts[0] == 3 < counts[1]


def test_widths_of_stage_and_head_that_differ_are_refused():
    with pytest.raises(ValueError, match=r"shared_head\.out_channels and bbox_head\.in_channels differ: 512"):
        stage_head(18, 256)


def test_convolutions_stand_before_the_layers_of_a_box_head():
    head = BBoxHead(
        in_channels=8,
        num_convs=2,
        conv_channels=32,
        norm="gn",
        fc_channels=(16,),
        num_classes=CLASSES,
        coder=DeltaCoder(),
        cls_loss=CrossEntropyLoss(),
        box_loss=L1Loss(),
    )
    logits, deltas = head(torch.randn(5, 8, 7, 7))
    assert (logits.shape, deltas.shape) == ((5, CLASSES + 1), (5, 4 * CLASSES))
    assert {"shared_convs.0.conv.weight", "shared_convs.1.gn.bias"} <= set(head.state_dict())


def test_norms_per_level_stand_around_the_same_convolutions():
    head = RetinaHead(
        in_channels=8,
        channels=8,
        num_convs=2,
        num_classes=CLASSES,
        anchors=AnchorGenerator(strides=(8, 16)),
        coder=DeltaCoder(),
        assigner=MaxIoUAssigner(positive_iou=0.5, negative_iou=0.4),
        cls_loss=FocalLoss(),
        box_loss=L1Loss(),
        norm="bn",
        norm_per_level=True,
    )
    first, second = (head.get_submodule(f"cls_convs.{level}.1") for level in (0, 1))
    assert first.conv is second.conv
    assert first.bn is not second.bn
    head.eval()
    x = torch.randn(1, 8, 4, 4)
    same = head([x, x])[0]
    torch.testing.assert_close(same[0], same[1])
    nn.init.constant_(second.bn.weight, 3.0)
    changed = head([x, x])[0]
    torch.testing.assert_close(changed[0], same[0])
    assert not torch.allclose(changed[1], same[1])
