"""Parts of predictions."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from omma.structures.sample import Prediction

_OF_INSTANCES = ("boxes", "scores", "labels", "masks", "keypoints", "keypoint_scores", "areas")


def above(prediction: Prediction, threshold: float) -> Prediction:
    """The instances of a prediction with scores from ``threshold`` on, and all else, on the CPU."""
    values = {key: value.cpu() for key, value in cast("dict[str, Tensor]", prediction).items()}
    if "scores" in values:
        keep = values["scores"] >= threshold
        values |= {key: values[key][keep] for key in _OF_INSTANCES if key in values}
    return cast(Prediction, values)
