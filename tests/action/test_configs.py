"""What holds for every action config."""

from __future__ import annotations

import pytest
import torch

from omma.config import Config, check, list_configs
from omma.experiment import Experiment
from omma_action.models.recognizer import Recognizer

NAMES = sorted(name for name, path in list_configs().items() if path.parent.parent.name == "action")


@pytest.mark.parametrize("name", NAMES)
def test_its_model_is_built(name: str):
    config = Config.load(name)
    if config.get("model.backbone.weights") is not None:
        config = Config.load(name, ["model.backbone.weights=null"])
    plan = check(config, Experiment)
    with torch.device("meta"):
        model = plan["model"].build()
    assert isinstance(model, Recognizer)
    assert model.cls_head.num_classes == config.get("data.num_classes")


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb", 28.2),
        ("swin-small-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb", 49.8),
        ("swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb", 88.0),
        ("swin-large-p244-w877_in22k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb", 197),
        ("timesformer_divST_8xb8-8x32x1-15e_kinetics400-rgb", 122),
        ("timesformer_jointST_8xb8-8x32x1-15e_kinetics400-rgb", 86.11),
        ("timesformer_spaceOnly_8xb8-8x32x1-15e_kinetics400-rgb", 86.11),
        ("mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb", 34.5),
        ("mvit-base-p244_32x3x1_kinetics400-rgb", 51.2),
        ("mvit-large-p244_40x3x1_kinetics400-rgb", 213),
        ("mvit-small-p244_k400-pre_16xb16-u16-100e_sthv2-rgb", 34.4),
        ("mvit-small-p244_k400-maskfeat-pre_8xb32-16x4x1-100e_kinetics400-rgb", 36.4),
        ("vit-small-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400", 22),
        ("vit-base-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400", 87),
    ],
)
def test_it_is_as_large_as_published(name: str, millions: float):
    config = Config.load(name, ["model.backbone.weights=null"])
    with torch.device("meta"):
        model = check(config, Experiment)["model"].build()
    found = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert found == pytest.approx(millions, abs=0.6 if millions >= 100 else 0.1, rel=0.012)
