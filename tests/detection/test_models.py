"""What every detector must do: train, also without objects, predict, and refuse parts that don't fit."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor

from omma.checkpoint.classes import class_rows
from omma.errors import DataError
from omma.model import Preprocessor
from omma.structures import Polygons, Sample
from omma_detection.models.faster_rcnn import FasterRCNN
from omma_detection.models.mask_rcnn import MaskRCNN
from omma_detection.models.retinanet import RetinaNet

from . import detectors
from .detectors import CLASSES, DETECTORS, STAGES, TWO_OBJECTS, batch, flat, sample

SIZE = (96, 128)
every_detector = pytest.mark.parametrize("name", list(DETECTORS))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def unresponsive(model: torch.nn.Module) -> list[str]:
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


@every_detector
def test_every_parameter_learns_from_objects(name: str):
    model = DETECTORS[name]().train()
    losses = model.loss(batch(sample(TWO_OBJECTS, SIZE), sample([[5.0, 5, 50, 60]], (64, 96))))
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())
    total(losses).backward()
    assert unresponsive(model) == []


@every_detector
def test_images_without_objects_train(name: str):
    model = DETECTORS[name]().train()
    losses = model.loss(batch(sample([], SIZE), sample([], SIZE)))
    assert all(loss.isfinite() for loss in losses.values())
    total(losses).backward()
    # All parameters take part, else processes that exchange gradients would wait for each other.
    assert unresponsive(model) == []
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@every_detector
def test_training_on_one_image_lowers_the_loss(name: str):
    model = DETECTORS[name]().train()
    data = batch(sample(TWO_OBJECTS, SIZE))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    values = []
    for _ in range(30):
        loss = total(model.loss(data))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    # The second stage's regions change as the first learns: its loss rises before it falls.
    assert sum(values[-5:]) / 5 < 0.8 * max(values[:10])


@every_detector
def test_losses_are_finite_float32_under_bfloat16_autocast(name: str):
    model = DETECTORS[name]().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(batch(sample(TWO_OBJECTS, SIZE)))
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(loss.isfinite() for loss in losses.values())
    total(losses).backward()


@every_detector
@torch.no_grad()
def test_predictions_are_sorted_and_lie_in_the_original_image(name: str):
    model = confident(DETECTORS[name]())
    predictions = model.predict(batch(sample(TWO_OBJECTS, SIZE, scale=2.0), sample([], (64, 96))))
    for found, (height, width) in zip(predictions, ((48, 64), (64, 96)), strict=True):
        boxes, scores, labels = found["boxes"], found["scores"], found["labels"]
        assert len(boxes) == len(scores) == len(labels) > 0
        assert boxes.dtype == scores.dtype == torch.float32
        assert bool((boxes >= 0).all())
        assert bool((boxes <= torch.tensor([width, height, width, height]) + 1e-3).all())
        assert bool((scores.diff() <= 0).all())
        assert bool((scores <= 1).all())
        assert labels.dtype == torch.int64
        assert bool((labels < CLASSES).all())
        if name == "mask_rcnn":
            assert found["masks"].shape == (len(boxes), height, width)
            assert found["masks"].dtype == torch.bool


@every_detector
@torch.no_grad()
def test_boxes_scale_with_the_original_image(name: str):
    model = confident(DETECTORS[name]())
    one = model.predict(batch(sample(TWO_OBJECTS, SIZE)))[0]
    half = model.predict(batch(sample(TWO_OBJECTS, SIZE, scale=2.0)))[0]
    count = min(len(one["boxes"]), len(half["boxes"]), 5)
    torch.testing.assert_close(one["boxes"][:count], half["boxes"][:count] * 2)


@every_detector
@torch.no_grad()
def test_a_copy_from_the_state_dict_has_the_same_raw_outputs(name: str):
    first, second = DETECTORS[name]().eval(), DETECTORS[name]().eval()
    second.load_state_dict(first.state_dict())
    images = batch(sample([], SIZE)).images
    mine, other = flat(first(images)), flat(second(images))
    assert len(mine) == len(other) > 0
    for a, b in zip(mine, other):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", [name for name in DETECTORS if name != "rpn"])
def test_class_rows_are_parameters_whose_first_axis_they_describe(name: str):
    model = DETECTORS[name]()
    parameters = dict(model.named_parameters())
    rows = class_rows(model)
    assert rows
    for key, row in rows.items():
        assert len(parameters[key]) == row.repeats * CLASSES * row.per_class + row.background, key


@torch.no_grad()
def test_no_detections_at_all_are_empty_predictions_with_masks():
    model = DETECTORS["mask_rcnn"]().eval()
    cast(MaskRCNN, model).roi_head.bbox_head.score_threshold = 1.0
    found = model.predict(batch(sample([], SIZE)))[0]
    assert found["boxes"].shape == (0, 4)
    assert found["masks"].shape == (0, *SIZE)


def test_outlines_that_were_not_rasterised_are_refused():
    data = sample(TWO_OBJECTS, SIZE)
    data["masks"] = Polygons.from_coco([[[0, 0, 9, 0, 9, 9]]] * 2, SIZE)
    with pytest.raises(DataError, match=r"picture\.jpg.*RasteriseMasks"):
        DETECTORS["mask_rcnn"]().loss(batch_of_boxes(data))


def test_samples_without_masks_are_refused_by_the_mask_head():
    data = sample(TWO_OBJECTS, SIZE)
    del data["masks"]
    with pytest.raises(DataError, match="masks: true"):
        DETECTORS["mask_rcnn"]().loss(batch_of_boxes(data))


def test_fast_rcnn_asks_for_proposals():
    data = sample(TWO_OBJECTS, SIZE)
    del data["proposals"]
    with pytest.raises(DataError, match=r"picture\.jpg.*proposals"):
        DETECTORS["fast_rcnn"]().loss(batch_of_boxes(data))


def test_strides_that_don_t_fit_the_pyramid_are_refused():
    with pytest.raises(ValueError, match=r"\(8, 16, 32, 64, 128\).*rpn_head.*\(4, 8, 16, 32, 64\)"):
        FasterRCNN(
            backbone=detectors.backbone(),
            neck=detectors.pyramid(start_level=1),
            rpn_head=detectors.rpn_head(),
            roi_head=detectors.roi_head(),
            preprocessor=Preprocessor(),
        )


def test_extractor_strides_that_don_t_fit_the_pyramid_are_refused():
    with pytest.raises(ValueError, match=r"\(4, 8, 16\).*bbox_roi_extractor.*\(8, 16, 32\)"):
        FasterRCNN(
            backbone=detectors.backbone(),
            neck=detectors.pyramid(),
            rpn_head=detectors.rpn_head(),
            roi_head=detectors.roi_head(strides=(8, 16, 32)),
            preprocessor=Preprocessor(),
        )


def test_channels_that_don_t_fit_the_head_are_refused():
    with pytest.raises(ValueError, match=r"16.*bbox_head\.in_channels is 99"):
        RetinaNet(
            backbone=detectors.backbone(),
            neck=detectors.pyramid(1),
            bbox_head=detectors.retina_head(in_channels=99),
            preprocessor=Preprocessor(),
        )


def test_a_neck_for_another_backbone_is_refused():
    neck = detectors.pyramid(1)
    neck.in_channels = (256, 512, 1024, 2048)
    with pytest.raises(
        ValueError, match=rf"neck\.in_channels \[256, 512.*not those of the backbone, \[{STAGES[0]}"
    ):
        RetinaNet(
            backbone=detectors.backbone(),
            neck=neck,
            bbox_head=detectors.retina_head(),
            preprocessor=Preprocessor(),
        )


def test_mask_rcnn_without_a_mask_head_is_refused():
    with pytest.raises(ValueError, match="mask_head"):
        MaskRCNN(
            backbone=detectors.backbone(),
            neck=detectors.pyramid(),
            rpn_head=detectors.rpn_head(),
            roi_head=detectors.roi_head(),
            preprocessor=Preprocessor(),
        )


def confident(model: torch.nn.Module) -> torch.nn.Module:
    """The model in eval mode with scores that pass the thresholds."""
    for key, parameter in model.named_parameters():
        if key.endswith(("retina_cls.bias", "conv_cls.bias", "fc_cls.bias")):
            torch.nn.init.zeros_(parameter)
        if key.endswith(("retina_cls.weight", "conv_cls.weight", "rpn_cls.weight")):
            torch.nn.init.normal_(parameter, std=0.2)
    return model.eval()


def batch_of_boxes(data: Sample) -> detectors.Batch:
    return detectors.Batch([torch.zeros(3, *SIZE, dtype=torch.uint8)], [data])
