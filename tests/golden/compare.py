"""How close is close: the tolerances of the golden files' README. Each function lists what is off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor


def parameters(model: torch.nn.Module, golden: dict[str, Any]) -> list[str]:
    """Names and shapes of parameters and running statistics; constants may come or not."""
    expected = {name: tuple(shape) for name, shape in golden["parameters"].items()}
    ours = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    constants = golden.get("other_buffers", {})
    missing = [f"missing {name} {shape}" for name, shape in expected.items() if name not in ours]
    extra = [f"unexpected {name}" for name in ours if name not in expected and name not in constants]
    shapes = [
        f"{name}: {ours[name]} instead of {shape}"
        for name, shape in expected.items()
        if name in ours and ours[name] != shape
    ]
    return missing + extra + shapes


def raw(outputs: Any, golden: list[dict[str, Any]]) -> list[str]:
    """Each golden tensor must have one of ours with its shape and sampled values."""
    tensors = list(flatten(outputs))
    problems = []
    for entry in golden:
        shape = tuple(entry["shape"])
        candidates = [t for t in tensors if tuple(t.shape) == shape]
        close = [_share(t, entry) for t in candidates]
        if not close:
            problems.append(f"{entry['path']}: no output of shape {shape}")
        elif max(close) < 0.95:
            problems.append(f"{entry['path']} {shape}: {max(close):.0%} of the sampled values agree")
    return problems


def _share(tensor: Tensor, entry: dict[str, Any]) -> float:
    values = tensor.detach().float().flatten().numpy()[np.array(entry["at"], dtype=int)]
    expected = np.array(entry["values"], dtype=np.float64)
    if not len(expected):
        return 1.0
    return float(np.mean(np.abs(values - expected) <= 1e-3 * np.abs(expected) + 1e-4 * entry["absmax"]))


def flatten(outputs: Any) -> Iterator[Tensor]:
    """All tensors of a nested output."""
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, dict):
        for value in outputs.values():
            yield from flatten(value)
    elif isinstance(outputs, list | tuple):
        for value in outputs:
            yield from flatten(value)


def detections(prediction: dict[str, Tensor], golden: dict[str, Any]) -> list[str]:
    """Scores by rank, and for each golden box one of ours of its label, near its score and place."""
    scores = prediction["scores"].numpy()
    problems = []
    if len(scores) != golden["count"]:
        problems.append(f"{len(scores)} predictions instead of {golden['count']}")
    best = np.array(golden["scores"])
    if len(scores) < len(best):
        return problems
    off = np.abs(np.sort(scores)[::-1][: len(best)] - best)
    if len(best) and off.max() > 2e-3:
        problems.append(f"scores differ by up to {off.max():.4f}")
    areas = golden.get("mask_areas") or [None] * len(best)
    for rank, (score, label, box, area) in enumerate(zip(best, golden["labels"], golden["boxes"], areas)):
        near = (prediction["labels"].numpy() == label) & (np.abs(scores - score) <= 2e-3)
        near &= np.abs(prediction["boxes"].numpy() - np.array(box)).max(axis=1, initial=0) <= 0.1
        if not near.any():
            problems.append(f"rank {rank}: no box of label {label} at {box} with score {score:.4f}")
        elif area is not None:
            sizes = prediction["masks"].numpy()[near].reshape(near.sum(), -1).sum(axis=1)
            if np.abs(sizes - area).min() > max(0.01 * area, 1):
                problems.append(f"rank {rank}: mask of {sizes.tolist()} pixels instead of {area}")
    return problems


def losses(ours: dict[str, Tensor], golden: dict[str, Any], random: list[str]) -> list[str]:
    """The sum of all losses."""
    if random:
        named = {name: value for name, value in ours.items() if name in golden}
        return _close(
            sum(float(v) for v in named.values()), _total({k: golden[k] for k in named}), "named losses"
        )
    return _close(sum(float(value) for value in ours.values()), _total(golden), "sum of the losses")


def _total(golden: dict[str, Any]) -> float:
    return sum(float(np.sum(value)) for name, value in golden.items() if "loss" in name)


def _close(ours: float, expected: float, what: str) -> list[str]:
    return (
        []
        if abs(ours - expected) <= 1e-3 * abs(expected) + 1e-7
        else [f"{what}: {ours:.6f} instead of {expected:.6f}"]
    )
