"""What several processes do together and one does alone, for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from omma.errors import OmmaError
from omma.runner import evaluate

from .resume_cases import Remember
from .small_run import make_run

Result = tuple[
    dict[str, torch.Tensor], list[tuple[int, dict[str, float]]], list[tuple[int, dict[str, float]]]
]


def train(out: Path, resume: Path | None = None, **words: Any) -> Result:
    """Weights, log and evaluations of a run, perhaps one that goes on from a checkpoint."""
    hook = Remember()
    run = make_run(out, hooks=(hook,), **words)
    if resume is not None:
        run.resume(resume)
    run.train()
    weights = {
        name: (value.full_tensor() if hasattr(value, "full_tensor") else value).detach().clone()
        for name, value in run.model.state_dict().items()
    }
    return weights, hook.logged, hook.judged


def judge(out: Path, **words: Any) -> dict[str, float]:
    """Metrics of a fresh model over the seven images of ``val``."""
    run = make_run(out, steps=1, **words)
    assert run.val_loader is not None
    return evaluate(run.model, run.val_loader, run.metrics, run.device).values


def refusal(out: Path, resume: Path, **words: Any) -> str:
    """Why a run does not go on from a checkpoint."""
    try:
        make_run(out, **words).resume(resume)
    except OmmaError as error:
        return str(error)
    return "it goes on"
