"""Parts of predictions."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from omma.structures.sample import Prediction


def above(prediction: Prediction, threshold: float) -> Prediction:
    """The part of a prediction with scores from ``threshold`` on, on the CPU."""
    keep = prediction["scores"] >= threshold
    values = cast("dict[str, Tensor]", prediction)
    return cast(Prediction, {key: value[keep].cpu() for key, value in values.items()})
