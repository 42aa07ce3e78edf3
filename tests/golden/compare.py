"""How close is close: the tolerances of the golden files' README. Each function lists what is off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

FEWEST_REGIONS = 20
"""A first axis of this length or more is one of regions; a shorter one is of images or layers."""


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
    """Share of the sampled values that agree. Regions lie by rank, where near ties swap neighbours."""
    expected = np.array(entry["values"], dtype=np.float64)
    if not len(expected):
        return 1.0
    flat = tensor.detach().float().flatten().numpy()
    places = np.array(entry["at"], dtype=int)
    row = tensor[0].numel() if tensor.ndim > 1 and len(tensor) >= FEWEST_REGIONS else 0
    near = places + row * np.arange(-2, 3)[:, None]
    values = flat[np.where((near < 0) | (near >= len(flat)), places, near)]
    close = np.abs(values - expected) <= 1e-3 * np.abs(expected) + 1e-4 * entry["absmax"]
    return float(close.any(axis=0).mean())


def among(draws: Tensor, golden: list[dict[str, Any]]) -> list[str]:
    """Each golden tensor must lie among ``draws`` (K, ...) of ours: within four of their deviations."""
    problems = []
    for entry in golden:
        if tuple(draws.shape[1:]) != tuple(entry["shape"]):
            problems.append(f"{entry['path']}: no output of shape {tuple(entry['shape'])}")
            continue
        values = draws.flatten(1)[:, np.array(entry["at"], dtype=int)].double()
        near = 4 * values.std(dim=0) + 1e-4 * entry["absmax"]
        off = (torch.tensor(entry["values"], dtype=torch.float64) - values.mean(dim=0)).abs()
        if (share := float((off <= near).double().mean())) < 0.95:
            problems.append(f"{entry['path']}: {share:.0%} of the sampled values are among ours")
        spread = [float(value.std() / entry["std"]) for value in draws]
        if max(abs(ratio - 1) for ratio in spread) > 0.02:
            problems.append(
                f"{entry['path']}: deviations are {min(spread):.3f} to {max(spread):.3f} times those"
            )
    return problems


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


def detections(prediction: Any, golden: dict[str, Any]) -> list[str]:
    """Scores by rank, and for each golden box one of ours: label, score, place, and area of its mask.

    Where the reference has masks only, its boxes are all zeros and say nothing.
    """
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
    placed = np.any(golden["boxes"])
    for rank, (score, label, box, area) in enumerate(zip(best, golden["labels"], golden["boxes"], areas)):
        near = (prediction["labels"].numpy() == label) & (np.abs(scores - score) <= 2e-3)
        if placed:
            near &= np.abs(prediction["boxes"].numpy() - np.array(box)).max(axis=1, initial=0) <= 0.1
        if not near.any():
            problems.append(f"rank {rank}: no box of label {label} at {box} with score {score:.4f}")
        elif area is not None:
            sizes = prediction["masks"].numpy()[near].reshape(near.sum(), -1).sum(axis=1)
            if np.abs(sizes - area).min() > max(0.01 * area, 1):
                problems.append(f"rank {rank}: mask of {sizes.tolist()} pixels instead of {area}")
    return problems


def class_pixels(prediction: Any, golden: dict[str, Any]) -> list[str]:
    """Pixels of each class."""
    semantic = prediction["semantic"]
    ours = semantic.flatten().bincount(minlength=256).tolist()
    expected = {int(label): count for label, count in golden["classes"].items()}
    limit = 0.005 * semantic.numel()
    return [
        f"class {label}: {count} pixels instead of {expected.get(label, 0)}"
        for label, count in enumerate(ours)
        if abs(count - expected.get(label, 0)) > limit
    ]


def keypoints(prediction: Any, golden: dict[str, Any]) -> list[str]:
    """Places and scores of the key points of one object; scores beyond 1 are heights of untrained maps."""
    places = np.abs(prediction["keypoints"][0].numpy() - np.array(golden["keypoints"])).max(axis=1)
    expected = np.array(golden["scores"])
    scores = np.abs(prediction["keypoint_scores"][0].numpy() - expected)
    wrong = np.flatnonzero((places > 0.1) | (scores > 2e-3 * np.maximum(np.abs(expected), 1)))
    return [f"key point {i}: {places[i]:.3f} pixels and {scores[i]:.4f} in score off" for i in wrong]


def class_scores(prediction: Any, golden: dict[str, Any]) -> list[str]:
    """Scores of all classes of a clip."""
    off = np.abs(prediction["class_scores"].numpy() - np.array(golden["scores"]))
    return [f"class {i}: score {off[i]:.4f} off" for i in np.flatnonzero(off > 2e-3)]


def scores_among(draws: Tensor, golden: dict[str, Any]) -> list[str]:
    """Each golden score of a class must lie between the smallest and the largest of ``draws`` (K, C)."""
    expected = torch.tensor(golden["scores"])
    off = torch.maximum(draws.amin(0) - expected, expected - draws.amax(0))
    wrong = (off > 2e-3).nonzero().flatten().tolist()
    return [f"class {i}: score {float(expected[i]):.4f} is {float(off[i]):.4f} beyond ours" for i in wrong]


PREDICTIONS: dict[str, Callable[[Any, dict[str, Any]], list[str]]] = {
    "boxes": detections,
    "classes": class_pixels,
    "keypoints": keypoints,
    "num_classes": class_scores,
}
"""What compares a prediction, by the key that a golden one of its kind has."""


def prediction(ours: Any, golden: dict[str, Any]) -> list[str]:
    """A prediction of whatever kind."""
    for key, comparison in PREDICTIONS.items():
        if key in golden:
            return comparison(ours, golden)
    return [f"nothing here compares a prediction of {', '.join(golden)}"]


def losses(ours: dict[str, Tensor], golden: dict[str, Any], random: list[str]) -> list[str]:
    """The sum of all losses; where some are drawn at random, the sum of the others, which go by name."""
    expected = {name: float(np.sum(value)) for name, value in golden.items() if "loss" in name}
    if random and (missing := sorted(expected.keys() - ours.keys())):
        return [f"no loss is called {', '.join(missing)}; there are {', '.join(ours)}"]
    total = sum(float(value) for name, value in ours.items() if not random or name in expected)
    wanted = sum(expected.values())
    if abs(total - wanted) <= 1e-3 * abs(wanted) + 1e-7:
        return []
    listed = ", ".join(f"{name} {float(value):.6g}" for name, value in ours.items())
    reference = ", ".join(f"{name} {value:.6g}" for name, value in expected.items())
    return [f"losses sum up to {total:.6f} instead of {wanted:.6f}: {listed}; reference: {reference}"]
