"""Detectors that learn more than weights go on from a checkpoint with the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from omma.checkpoint.store import read_checkpoint
from omma.data.dataset import Dataset
from omma.errors import WeightsError
from omma.experiment import Loader
from omma.losses import BinaryCrossEntropyLoss, FocalLoss, GIoULoss, SmoothL1Loss
from omma.model import Model, Preprocessor
from omma.optim import SGD, Constant
from omma.runner import Runner, Train
from omma.runner.state import restore
from omma.structures import DataInfo
from omma_detection.models.assigners import ATSSAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.ddod import DDOD, DDODHead
from omma_detection.models.dynamic_rcnn import DynamicRoIHead
from omma_detection.models.priors import AnchorGenerator

from . import detectors

SIZE = (96, 128)
LENGTH, SAVED = 8, 4


class Scenes(Dataset):
    """Six noisy images with two objects each, nearer and farther apart."""

    def __init__(self) -> None:
        self.info = DataInfo(tuple("abc"))

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        boxes = [[10.0 + index, 12, 70 + 3 * index, 60], [40.0 - index, 30, 90, 95 - 4 * index]]
        image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
        return {**detectors.sample(boxes, SIZE), "image": tv_tensors.Image(image)}

    def target(self, index: int) -> Any:
        return {"index": index, "id": index}

    @property
    def image_sizes(self) -> np.ndarray:
        return np.full((6, 2), SIZE, np.int32)

    def class_counts(self) -> np.ndarray:
        return np.ones((6, 3), np.uint16)


def ddod() -> DDOD:
    head = DDODHead(
        in_channels=detectors.WIDTH,
        channels=32,
        num_convs=1,
        num_classes=detectors.CLASSES,
        anchors=AnchorGenerator(strides=(8, 16, 32, 64, 128), scales=(8.0,), ratios=(1.0,)),
        coder=DeltaCoder(stds=(0.1, 0.1, 0.2, 0.2)),
        assigner=ATSSAssigner(),
        cls_loss=FocalLoss(),
        box_loss=GIoULoss(),
        iou_loss=BinaryCrossEntropyLoss(),
    )
    return DDOD(
        backbone=detectors.backbone(), neck=detectors.pyramid(1), bbox_head=head, preprocessor=Preprocessor()
    )


def dynamic_rcnn() -> Model:
    model = detectors.faster_rcnn()
    plain = model.roi_head
    plain.bbox_head.box_loss = SmoothL1Loss()
    model.roi_head = DynamicRoIHead(
        assigner=plain.assigner,
        sampler=plain.sampler,
        bbox_roi_extractor=plain.bbox_roi_extractor,
        bbox_head=plain.bbox_head,
        iou_rank=10,
        interval=3,  # the checkpoint lies in the middle of the second one
    )
    return model


def start(build: Any, out: Path) -> Runner:
    torch.manual_seed(0)
    return Runner(
        model=build(),
        train=Loader(dataset=Scenes(), batch_size=2, workers=0),
        optimizer=SGD(lr=0.002),
        schedule=Constant(),
        settings=Train(steps=LENGTH, save_every=SAVED, device="cpu", log_every=3, clip_norm=5.0),
        out=out,
    )


def learnt(run: Runner) -> dict[str, Any]:
    return read_checkpoint(run.out / "checkpoints" / f"step_{LENGTH:06d}").state["modules"]


@pytest.mark.parametrize(("build", "name"), [(ddod, "bbox_head"), (dynamic_rcnn, "roi_head")])
def test_what_a_head_learns_beside_its_weights_goes_on(build, name, tmp_path):
    straight = start(build, tmp_path / "a")
    straight.train()
    again = start(build, tmp_path / "b")
    fresh = repr(getattr(again.model, name).training_state())
    again.resume(tmp_path / "a" / "checkpoints" / f"step_{SAVED:06d}")
    assert repr(getattr(again.model, name).training_state()) != fresh
    again.train()
    for key, value in straight.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key
    assert list(learnt(again)[0]) == [name]
    assert repr(learnt(again)) == repr(learnt(straight))


@pytest.mark.parametrize(
    ("build", "name", "state"),
    [
        (ddod, "bbox_head", {}),
        (ddod, "bbox_head", {"positives": torch.zeros(3)}),
        (ddod, "bbox_head", None),
        (dynamic_rcnn, "roi_head", {"thresholds": [0.5]}),
        (dynamic_rcnn, "roi_head", {"thresholds": [0.5] * 3, "beta": "b", "ious": [], "errors": []}),
    ],
)
def test_a_state_that_is_none_of_the_head_s_is_refused(build, name, state, tmp_path):
    run = start(build, tmp_path)
    checkpoint = read_checkpoint(run.save())
    checkpoint.state["modules"][0][name] = state
    with pytest.raises(WeightsError, match="in its 'modules'"):
        restore(run, checkpoint)
