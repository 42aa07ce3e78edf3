"""Parts of predictions, and predictions put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from omma.structures.sample import Prediction

_OF_INSTANCES = ("boxes", "scores", "labels", "masks", "keypoints", "keypoint_scores", "areas", "tracks")


def above(prediction: Prediction, threshold: float) -> Prediction:
    """The instances of a prediction with scores from ``threshold`` on, and all else, on the CPU."""
    values = {key: value.cpu() for key, value in cast("dict[str, Tensor]", prediction).items()}
    on_cpu = cast(Prediction, values)
    return chosen(on_cpu, values["scores"] >= threshold) if "scores" in values else on_cpu


def chosen(prediction: Prediction, keep: Any) -> Prediction:
    """The instances that ``keep`` picks, a (N,) bool mask or indices in any order, and all else."""
    values = dict(cast("dict[str, Tensor]", prediction))
    return cast(Prediction, values | {key: values[key][keep] for key in _OF_INSTANCES if key in values})


def joined(predictions: Sequence[Prediction]) -> Prediction:
    """The instances of all predictions, of which there is at least one, one after the other."""
    parts = cast("Sequence[dict[str, Tensor]]", predictions)
    keys = [key for key in _OF_INSTANCES if key in parts[0]]
    return cast(Prediction, {key: torch.cat([part[key] for part in parts]) for key in keys})
