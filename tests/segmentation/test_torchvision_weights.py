"""Weights of torchvision's segmenters give torchvision's numbers in our models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import segmentation

from omma.checkpoint import load_weights
from omma.config import Config, check
from omma.experiment import Experiment
from omma_segmentation.datasets.classes import KNOWN
from omma_segmentation.models.torchvision_weights import from_torchvision

CONFIG = {
    "deeplabv3_resnet50": "deeplabv3_r50-d8_torchvision_voc12",
    "fcn_resnet50": "fcn_r50-d8_torchvision_voc12",
}


def theirs(name: str) -> Any:
    torch.manual_seed(0)
    model = getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.9, 1.1)
            nn.init.uniform_(module.weight, 0.3, 0.5)
    return model.eval()


@pytest.mark.parametrize("name", CONFIG)
def test_the_logits_are_torchvisions(name, tmp_path):
    reference = theirs(name)
    torch.save(reference.state_dict(), tmp_path / "theirs.pth")
    config = Config.load(CONFIG[name], ["model.backbone.weights=null"])
    model: Any = check(config, Experiment)["model"].build().eval()
    load_weights(model, tmp_path / "theirs.pth")
    image = torch.randint(0, 256, (1, 3, 65, 97), dtype=torch.uint8)
    with torch.inference_mode():
        x = model.preprocessor(image)
        wanted = reference(x)
        torch.testing.assert_close(model(image), wanted["out"], rtol=1e-4, atol=1e-4)
        auxiliary = model.auxiliary_head(model.maps(x))
        auxiliary = nn.functional.interpolate(auxiliary, x.shape[-2:], mode="bilinear")
        torch.testing.assert_close(auxiliary, wanted["aux"], rtol=1e-4, atol=1e-4)


def test_the_classes_are_those_of_the_published_weights():
    state = {"backbone.conv1.weight": torch.zeros(1), "classifier.4.weight": torch.zeros(21, 1)}
    found = from_torchvision(state)
    published = segmentation.DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1.meta["categories"]
    assert found is not None
    assert found.metadata["classes"] == KNOWN["pascal_voc"]
    assert found.metadata["classes"][1:] == tuple(published[1:])


def test_other_weights_are_left_alone():
    assert from_torchvision({"backbone.conv1.weight": torch.zeros(1)}) is None
