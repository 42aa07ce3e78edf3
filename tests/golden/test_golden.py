"""Parity with OpenMMLab: the same names, raw outputs, predictions and losses under seeded weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omma.config import Config, check, list_configs
from omma.experiment import Experiment
from omma.model import Model, Preprocessor
from omma.structures import Batch
from omma_action.models.preprocessor import ClipPreprocessor
from omma_action.models.recognizer import Recognizer
from omma_action.models.skeleton_preprocessor import SkeletonPreprocessor
from omma_action.models.trn import TRNHead
from omma_detection.models.condinst import CondInst
from omma_detection.models.solo import SOLO
from omma_detection.models.yolact import YOLACT
from omma_pose.models.topdown import TopDown
from omma_segmentation.models.segnext import NonNegativeFactors

sys.path.insert(0, str(Path(__file__).parent))
import compare
import inputs
import recipe


def build(name: str) -> Model:
    """The model of a config, with the golden input in place of its normalisation and no file of weights."""
    config = Config.load(name)
    parts = ("model.backbone", "model.backbone.backbone")
    files = [f"{part}.weights" for part in parts if config.get(f"{part}.weights") is not None]
    config = Config.load(name, [f"{file}=null" for file in files])
    model = check(config, Experiment)["model"].build()
    if not isinstance(model.preprocessor, SkeletonPreprocessor):  # which doesn't normalise
        kind = ClipPreprocessor if isinstance(model, Recognizer) else Preprocessor
        model.preprocessor = kind(mean=(114, 114, 114), std=(58, 58, 58), divisor=1)
    if isinstance(model, TopDown):
        model.flip_test = False
    return model.eval()


def fill(model: Model, names: dict[str, list[int]]) -> None:
    values = {name: torch.from_numpy(np.array(recipe.fill(name, tuple(s)))) for name, s in names.items()}
    model.load_state_dict(values, strict=False)


def take_all_candidates(model: Model, num: int) -> None:
    """Raise every sampler's number, so that nothing is drawn."""
    for module in model.modules():
        if hasattr(module, "sampler"):
            module.sampler.num = num


def losses_of(model: Model, batch: Batch) -> dict[str, torch.Tensor]:
    """The losses as the reference was asked for them, which is in eval mode.

    SOLO's reference gives its loss probabilities then, where it gives logits in training.
    """
    if isinstance(model, SOLO):
        return model.mask_head.loss(model(batch.images), batch)
    return model.loss(batch)


def masks_of_positives(model: YOLACT, batch: Batch) -> torch.Tensor:
    """What the reference of YOLACT counts among the raw outputs: masks (H, W, R) of the positive anchors."""
    outputs, prototypes = model(batch.images)
    found = model.bbox_head.positives(outputs, model.bbox_head.match(outputs, batch))
    return model.mask_head.masks(prototypes[0], found[0].coefficients).sigmoid()


def maps_of_backbone(model: Model, batch: Batch) -> Any:
    """Those that golden files call the backbone's: of clips its own, else what comes out of the neck."""
    if isinstance(model, Recognizer):
        return model.maps(model.preprocessor(batch.images).flatten(0, 1))
    return model.features(batch.images)


def drawn_problems(model: Model, factors: NonNegativeFactors, golden: dict[str, Any]) -> list[str]:
    """What differs where the reference draws the bases that it starts from: its logits are among ours."""
    batch, draws = inputs.batch_of(golden), []
    maps = model.features(batch.images)
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        factors.start.copy_(torch.rand(factors.start.shape, generator=generator))
        draws.append(model(batch.images))
    logits = [entry for entry in golden["raw"] if entry["path"] == "logits"]
    found = compare.raw(maps, [entry for entry in golden["raw"] if entry not in logits])
    return [f"raw: {line}" for line in found + compare.among(torch.stack(draws), logits)]


def prediction_problems(model: Model, batch: Batch, golden: dict[str, Any]) -> list[str]:
    if isinstance(model, Recognizer) and isinstance(model.cls_head, TRNHead):
        return compare.scores_among(drawn_scores(model, model.cls_head, batch), golden)
    return compare.prediction(model.predict(batch)[0], golden)


def drawn_scores(model: Recognizer, head: TRNHead, batch: Batch) -> torch.Tensor:
    """(K, C) scores by relations that are drawn at random, as the reference draws them in evaluation too."""
    head.consensus.train()
    features = model.features(batch.images)
    draws = [head.combine(head(features, 1)[None])[0] for _ in range(64)]
    head.consensus.eval()
    return torch.stack(draws)


def problems_of(model: Model, golden: dict[str, Any]) -> list[str]:
    """All that differs, by aspect. A model with other parameters is not run at all."""
    if found := compare.parameters(model, golden):
        return [f"parameters: {line}" for line in found]
    fill(model, golden["parameters"])
    for module in model.modules():
        if isinstance(module, NonNegativeFactors):
            return drawn_problems(model, module, golden)
    batch = inputs.batch_of(golden)
    found = []
    if "features" in golden and (features := getattr(model, "features", None)):
        found += [f"features: {line}" for line in compare.raw(features(batch.images), golden["features"])]
    if "raw" in golden:
        outputs = [model(batch.images)]
        if any(entry["path"].startswith("backbone") for entry in golden["raw"]):
            outputs.append(maps_of_backbone(model, batch))
        if isinstance(model, CondInst):  # the reference draws the masks of the target's points, too
            priors = model.priors(outputs[0])
            positive = (model.assign(outputs[0], batch) >= 0).nonzero(as_tuple=True)
            outputs.append(model.mask_head.logits(outputs[0], priors, *positive))
        if isinstance(model, YOLACT):
            outputs.append(masks_of_positives(model, batch))
        found += [f"raw: {line}" for line in compare.raw(outputs, golden["raw"])]
    if "predict" in golden:
        found += [f"predict: {line}" for line in prediction_problems(model, batch, golden["predict"])]
    if "loss" in golden:
        if "sampler_num" in golden:
            take_all_candidates(model, golden["sampler_num"])
        ours = losses_of(model, batch)
        found += [f"loss: {line}" for line in compare.losses(ours, golden["loss"], golden["loss_random"])]
    return found


@torch.no_grad()
def test_golden(golden_file: Path):
    golden = json.loads(golden_file.read_text())
    if golden["config"] not in list_configs():
        pytest.skip(f"Omma has no config {golden['config']}")
    problems = problems_of(build(golden["config"]), golden)
    assert not problems, "\n".join(problems[:30])
