"""Weights of torchvision's detectors give torchvision's numbers in our models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models import detection

from omma.checkpoint import load_weights
from omma.config import Config, check
from omma.errors import WeightsError
from omma.experiment import Experiment
from omma_detection.datasets.classes import COCO

CONFIG = {
    "fasterrcnn_resnet50_fpn": "faster-rcnn_r50_fpn_1x_coco",
    "maskrcnn_resnet50_fpn": "mask-rcnn_r50_fpn_1x_coco",
    "retinanet_resnet50_fpn": "retinanet_r50_fpn_torchvision_coco",
    "fcos_resnet50_fpn": "fcos_r50_fpn_torchvision_coco",
}
PUBLISHED = (
    (r"(inner_blocks|layer_blocks)\.(\d)\.0\.", r"\1.\2."),
    (r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv."),
    (r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}."),
    (r"_head\.conv\.(\d)\.0\.", lambda m: f"_head.conv.{2 * int(m[1])}."),
)
"""Names of today -> those in the published files, which are older."""
NAMES = (
    "__background__",
    *torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"][1:],
)
ROWS = [NAMES.index(name) for name in COCO]


def theirs(name: str, classes: int = 91) -> Any:
    torch.manual_seed(0)
    model = getattr(detection, name)(weights=None, weights_backbone=None, num_classes=classes).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.9, 1.1)
            nn.init.uniform_(module.weight, 0.3, 0.5)
    return model


def ours(name: str, *overrides: str) -> Any:
    plan = check(Config.load(CONFIG.get(name, name), ["model.backbone.weights=null", *overrides]), Experiment)
    return plan["model"].build().eval()


def saved(model: nn.Module, file: Path, *, published: bool = False) -> Path:
    state = model.state_dict()
    if published:
        for pattern, new in PUBLISHED:
            state = {re.sub(pattern, new, name): value for name, value in state.items()}
    torch.save(state, file)
    return file


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def rows(theirs: Tensor, axis: int = 1) -> Tensor:
    return theirs.index_select(axis, torch.tensor(ROWS))


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randint(0, 256, (3, 96, 128), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def features(model: Any, image: Tensor) -> list[Tensor]:
    mean, std = torch.tensor(model.transform.image_mean), torch.tensor(model.transform.image_std)
    return list(model.backbone(((image / 255 - mean[:, None, None]) / std[:, None, None])[None]).values())


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("name", ["fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn"])
@torch.no_grad()
def test_two_stage_detectors_give_the_same_numbers(name: str, published: bool, image: Tensor, tmp_path: Path):
    reference, model = theirs(name), ours(name)
    load_weights(model, saved(reference, tmp_path / "w.pth", published=published))
    wanted, found = features(reference, image), model.features([image])
    for a, b in zip(found, wanted, strict=True):
        close(a, b)
    for a, b in zip(model.rpn_head(found), reference.rpn.head(wanted), strict=True):
        for level, other in zip(a, b, strict=True):
            close(level, other)
    regions = torch.randn(5, 256, 7, 7, generator=torch.Generator().manual_seed(1))
    logits, deltas = reference.roi_heads.box_predictor(reference.roi_heads.box_head(regions))
    own_logits, own_deltas = model.roi_head.bbox_head(regions)
    close(own_logits, torch.cat([rows(logits), logits[:, :1]], dim=1))
    close(own_deltas, rows(deltas.unflatten(1, (91, 4))).flatten(1))
    if name == "maskrcnn_resnet50_fpn":
        masks = reference.roi_heads.mask_predictor(reference.roi_heads.mask_head(regions))
        close(model.roi_head.mask_head(regions), rows(masks))


@pytest.mark.parametrize("published", [False, True])
@torch.no_grad()
def test_retinanet_gives_the_same_numbers(published: bool, image: Tensor, tmp_path: Path):
    reference, model = theirs("retinanet_resnet50_fpn"), ours("retinanet_resnet50_fpn")
    load_weights(model, saved(reference, tmp_path / "w.pth", published=published))
    wanted, found = features(reference, image), model.features([image])
    for a, b in zip(found, wanted, strict=True):
        close(a, b)
    heads = reference.head(wanted)  # (N, positions * anchors, K)
    logits, deltas = model.bbox_head(found)
    own = torch.cat([m.unflatten(1, (9, 80)).permute(0, 3, 4, 1, 2).flatten(1, 3) for m in logits], 1)
    close(own, rows(heads["cls_logits"], 2))
    own = torch.cat([m.unflatten(1, (9, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3) for m in deltas], 1)
    close(own, heads["bbox_regression"])


@torch.no_grad()
def test_fcos_gives_the_same_numbers(image: Tensor, tmp_path: Path):
    reference, model = theirs("fcos_resnet50_fpn"), ours("fcos_resnet50_fpn")
    load_weights(model, saved(reference, tmp_path / "w.pth"))
    wanted, found = features(reference, image), model.features([image])
    for a, b in zip(found, wanted, strict=True):
        close(a, b)
    heads = reference.head(wanted)  # (N, positions, K)
    outputs = model.bbox_head(found)
    flat = lambda maps: torch.cat([m.flatten(2).mT for m in maps], 1)  # noqa: E731
    close(flat(outputs.logits), rows(heads["cls_logits"], 2))
    close(flat(outputs.centerness), heads["bbox_ctrness"])
    strides = [m / stride for m, stride in zip(outputs.distances, (8, 16, 32, 64, 128))]
    close(flat(strides), heads["bbox_regression"])


def test_classes_of_coco_are_copied_by_name_onto_others(tmp_path: Path):
    reference = theirs("fasterrcnn_resnet50_fpn")
    model = ours("fasterrcnn_resnet50_fpn", "data.num_classes=2", "data.classes=[zebra, unicorn]")
    file = saved(reference, tmp_path / "w.pth")
    report = load_weights(model, file, classes=("zebra", "unicorn"))
    assert (report.copied_classes, report.new_classes) == (["zebra"], ["unicorn"])
    weight = reference.roi_heads.box_predictor.cls_score.weight
    assert torch.equal(model.roi_head.bbox_head.fc_cls.weight[0], weight[NAMES.index("zebra")])
    assert torch.equal(model.roi_head.bbox_head.fc_cls.weight[-1], weight[0])


def test_a_model_of_other_classes_loses_only_its_background(tmp_path: Path):
    reference = theirs("fasterrcnn_resnet50_fpn", classes=4)
    model = ours("fasterrcnn_resnet50_fpn", "data.num_classes=3", "data.classes=[a, b, c]")
    load_weights(model, saved(reference, tmp_path / "w.pth"))
    weight = reference.roi_heads.box_predictor.bbox_pred.weight
    assert torch.equal(model.roi_head.bbox_head.fc_reg.weight, weight[4:])


def test_another_form_of_pyramid_is_told(tmp_path: Path):
    file = saved(theirs("retinanet_resnet50_fpn"), tmp_path / "w.pth")
    with pytest.raises(
        WeightsError, match=r"neck.fpn_convs.3.conv.weight: \(256, 256, 3, 3\) in the file"
    ) as caught:
        load_weights(ours("retinanet_r50_fpn_1x_coco"), file)
    assert "retinanet_r50_fpn_torchvision_coco" in str(caught.value)
