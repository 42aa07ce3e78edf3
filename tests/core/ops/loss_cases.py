"""Cases of the losses."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops import sigmoid_focal_loss, softmax_focal_loss

from .cases import Case, Inputs

CLASSES = 5


def logits_and_labels(count: int, generator: torch.Generator) -> Inputs:
    logits = 3 * torch.randn(count, CLASSES, generator=generator, dtype=torch.float64)
    return {"logits": logits, "labels": torch.randint(0, CLASSES + 1, (count,), generator=generator)}


def softmax_inputs(count: int, generator: torch.Generator) -> Inputs:
    inputs = logits_and_labels(count, generator)
    weight = torch.rand(CLASSES, generator=generator, dtype=torch.float64)
    return inputs | {"labels": inputs["labels"] - 1, "class_weight": weight}


def sure() -> list[Inputs]:
    """Logits at which a probability rounds to 0 or 1."""
    logits = torch.tensor([[-80.0, 80], [80, -80], [-20, 20], [0, 1e-3], [-1e4, 1e4]], dtype=torch.float64)
    return [{"logits": logits, "labels": torch.tensor([0, 0, 1, 2, 0])}]


def sigmoid_formula(logits: Tensor, labels: Tensor, *, alpha: float, gamma: float) -> Tensor:
    hot = torch.nn.functional.one_hot(labels, int(labels.max()) + 2 if len(labels) else 2 + logits.shape[1])
    hot = torch.nn.functional.pad(hot, (0, logits.shape[1]))[:, : logits.shape[1]].bool()
    right = torch.where(hot, logits, -logits)
    # log(sigmoid) and 1 - sigmoid of the probability given to the right answer.
    log_p, miss = -torch.logaddexp(-right, torch.zeros_like(right)), torch.sigmoid(-right)
    return -torch.where(hot, alpha, 1 - alpha) * miss**gamma * log_p


def softmax_formula(
    logits: Tensor, labels: Tensor, class_weight: Tensor, *, alpha: float, gamma: float
) -> Tensor:
    p = logits.softmax(1)
    out = [
        -alpha * class_weight[k] * (1 - p[i, k]) ** gamma * p[i, k].log() if k >= 0 else logits.new_zeros(())
        for i, k in enumerate(labels.tolist())
    ]
    return torch.stack(out) if out else logits.new_zeros(0)


CASES = (
    Case(
        op="sigmoid_focal_loss",
        function=sigmoid_focal_loss,
        make=logits_and_labels,
        truth=sigmoid_formula,
        settings={"alpha": 0.25, "gamma": 2.0},
        differentiable=("logits",),
        half=("logits",),
        extremes=sure,
    ),
    Case(
        op="sigmoid_focal_loss",
        note="gamma-below-1",
        function=sigmoid_focal_loss,
        make=logits_and_labels,
        truth=sigmoid_formula,
        settings={"alpha": 0.6, "gamma": 0.5},
        differentiable=("logits",),
        half=("logits",),
        extremes=sure,
    ),
    Case(
        op="softmax_focal_loss",
        function=softmax_focal_loss,
        make=softmax_inputs,
        truth=softmax_formula,
        settings={"alpha": 0.25, "gamma": 1.5},
        differentiable=("logits",),
        half=("logits",),
    ),
)
