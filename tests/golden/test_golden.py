"""Parity with OpenMMLab: the same names, raw outputs, predictions and losses under seeded weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from omma.config import Config, check, list_configs
from omma.experiment import Experiment
from omma.model import Model, Preprocessor
from omma.structures import Batch, Meta, Sample

sys.path.insert(0, str(Path(__file__).parent))
import compare
import recipe


def build(name: str) -> Model:
    """The model of a config, with the golden input in place of its normalisation and no file of weights."""
    config = Config.load(name)
    if config.get("model.backbone.weights") is not None:
        config = Config.load(name, ["model.backbone.weights=null"])
    model = check(config, Experiment)["model"].build()
    model.preprocessor = Preprocessor(mean=(114, 114, 114), std=(58, 58, 58), divisor=1)
    return model.eval()


def fill(model: Model, names: dict[str, list[int]]) -> None:
    values = {
        name: torch.from_numpy(np.array(recipe.fill(name, tuple(shape)))) for name, shape in names.items()
    }
    model.load_state_dict(values, strict=False)


def batch_of(golden: dict[str, Any]) -> Batch:
    """One image with the golden target."""
    shape = golden["input"]["shape"]
    height, width = shape[-2:]
    image = torch.from_numpy(recipe.picture(tuple(shape)))
    target = golden.get("target") or {"boxes": [], "labels": []}
    boxes = torch.tensor(target["boxes"]).reshape(-1, 4)
    sample = Sample(
        boxes=tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(height, width)),
        labels=torch.tensor(target["labels"], dtype=torch.int64),
        meta=Meta(index=0, id=0, path="golden", height=height, width=width),
    )
    if target.get("masks"):
        masks = torch.zeros(len(boxes), height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
            mask[y1:y2, x1:x2] = 1
        sample["masks"] = tv_tensors.Mask(masks)
    return Batch([image], [sample])


def take_all_candidates(model: Model, num: int) -> None:
    """Raise every sampler's number, so that nothing is drawn."""
    for module in model.modules():
        if hasattr(module, "sampler"):
            module.sampler.num = num


@torch.no_grad()
def test_golden(golden_file: Path):
    golden = json.loads(golden_file.read_text())
    name = golden["config"]
    if name not in list_configs():
        pytest.skip(f"Omma has no config {name}")
    model = build(name)
    problems = compare.parameters(model, golden)
    assert not problems, "\n".join(problems[:20])
    fill(model, golden["parameters"])
    batch = batch_of(golden)
    if "raw" in golden:
        problems += compare.raw(model.forward(batch.images), golden["raw"])
    if "predict" in golden:
        problems += compare.detections(dict(model.predict(batch)[0]), golden["predict"])
    if "loss" in golden:
        if "sampler_num" in golden:
            take_all_candidates(model, golden["sampler_num"])
        problems += compare.losses(model.loss(batch), golden["loss"], golden.get("loss_random", []))
    assert not problems, "\n".join(problems[:20])
