"""Every detection config composes, checks and builds, and its parts follow the one number of classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from omma.checkpoint.classes import class_rows
from omma.config import Config, check, list_configs
from omma.experiment import Experiment
from omma.model import Model

CONFIGS = {name: path for name, path in list_configs().items() if path.parent.parent.name == "detection"}
every_config = pytest.mark.parametrize("name", sorted(CONFIGS))


def build(name: str, *overrides: str) -> Model:
    """The model of a config, without storage or files of weights."""
    config = Config.load(name)
    weights = ["model.backbone.weights=null"] if config.get("model.backbone.weights") is not None else []
    plan = check(Config.load(name, [*overrides, *weights]), Experiment)
    with torch.device("meta"):
        return plan["model"].build()


def test_there_are_detection_configs():
    assert "faster-rcnn_r50_fpn_1x_coco" in CONFIGS


@every_config
def test_the_whole_config_is_right(name: str):
    check(Config.load(name), Experiment)


@every_config
def test_the_head_follows_the_number_of_classes(name: str):
    model = build(name, "data.num_classes=7", f"data.classes=[{', '.join('abcdefg')}]")
    parameters = dict(model.named_parameters())
    for key, rows in class_rows(model).items():
        assert len(parameters[key]) == rows.total(7), key


@every_config
def test_the_header_has_the_command_that_trains_it(name: str):
    header = "".join(
        line for line in Path(CONFIGS[name]).read_text().splitlines(True) if line.startswith("#")
    )
    assert re.search(rf"omma train {re.escape(name)}\b", header)


def test_twice_the_schedule_keeps_the_learning_rate_of_the_model():
    config = Config.load("retinanet_r50_fpn_2x_coco")
    assert config.get("optimizer.lr") == 0.01
    assert config.get("train.epochs") == 24
    assert config.get("schedule.milestones") == [16, 22]


def test_caffe_style_backbones_train_no_norm():
    model = build("fcos_r50-caffe_fpn_gn-head_1x_coco")
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert not [
        name for name in trained if name.startswith("backbone") and (".bn" in name or "downsample.1" in name)
    ]
    assert "backbone.layer2.0.conv1.weight" in trained
    assert "bbox_head.cls_convs.0.gn.weight" in trained
