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
