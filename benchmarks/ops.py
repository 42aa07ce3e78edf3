"""Time of the operators on boxes, regions, losses and masks, backend by backend.

Claims: on the CPU batched_nms of 10,000 boxes in 80 classes takes at most 1.1 of torchvision's, and soft_nms
of 1,000 boxes at most a quarter of the plain loop over tensors. On a GPU no operator is slower than
torchvision's.

The bytes of a problem are those of its inputs and outputs, moved once. Backends take turns, so that whatever
slows the machine slows all; medians count.

    python benchmarks/ops.py [--device cuda] [--only nms]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from feature_ops import copy_bandwidth, seconds
from torch import Tensor
from torch.nn import functional as F

from omma import ops
from omma.ops.backend import DEVICES, OPERATORS, force_backend


@dataclass(frozen=True)
class Problem:
    op: str
    note: str
    tensors: tuple[Tensor, ...]
    ours: Callable[..., Any]
    others: dict[str, Callable[..., Any]]
    """What it is held against, by name."""
    chosen_by: str = ""
    """The operator whose kernels it runs, if that isn't ``op``."""


def random_boxes(count: int, device: str) -> Tensor:
    corner = torch.rand(count, 2, device=device) * 1000
    return torch.cat([corner, corner + 8 + torch.rand(count, 2, device=device).square() * 200], 1)


def rotated(count: int, device: str) -> Tensor:
    boxes = random_boxes(count, device)
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], boxes[:, :1]], 1)


def soft_loop(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Soft-NMS as one writes it down: take the best, lower the rest, drop what fell below."""
    index = torch.arange(len(scores), device=scores.device)
    kept, kept_scores = [], []
    while len(scores):
        best = scores.argmax()
        kept.append(index[best])
        kept_scores.append(scores[best])
        iou = torchvision.ops.box_iou(boxes[best][None], boxes)[0]
        scores = scores * torch.exp(-iou.square() / 0.5)
        stays = scores >= 1e-3
        stays[best] = False
        boxes, scores, index = boxes[stays], scores[stays], index[stays]
    return torch.stack(kept), torch.stack(kept_scores)


def suppression(device: str) -> list[Problem]:
    many, few = random_boxes(10_000, device), random_boxes(1_000, device)
    classes = torch.randint(0, 80, (10_000,), device=device)
    vision = torchvision.ops
    return [
        Problem(
            "batched_nms",
            "10,000 boxes, 80 classes",
            (many, torch.rand(10_000, device=device), classes),
            lambda b, s, g: ops.batched_nms(b, s, g, iou_threshold=0.5),
            {"torchvision": lambda b, s, g: vision.batched_nms(b, s, g, 0.5)},
            chosen_by="nms",
        ),
        Problem(
            "nms",
            "1,000 boxes",
            (few, torch.rand(1_000, device=device)),
            lambda b, s: ops.nms(b, s, iou_threshold=0.5),
            {"torchvision": lambda b, s: vision.nms(b, s, 0.5)},
        ),
        Problem(
            "soft_nms",
            "1,000 boxes",
            (few, torch.rand(1_000, device=device)),
            lambda b, s: ops.soft_nms(b, s, sigma=0.5),
            {"plain loop": soft_loop},
        ),
        Problem(
            "nms_rotated",
            "1,000 boxes",
            (rotated(1_000, device), torch.rand(1_000, device=device)),
            lambda b, s: ops.nms_rotated(b, s, iou_threshold=0.1),
            {},
            chosen_by="box_iou_rotated",
        ),
        Problem(
            "pairwise_iou",
            "1,000 by 5,000",
            (few, random_boxes(5_000, device)),
            ops.pairwise_iou,
            {"torchvision": vision.box_iou},
        ),
        Problem(
            "box_iou_rotated",
            "300 by 300",
            (rotated(300, device), rotated(300, device)),
            ops.box_iou_rotated,
            {},
        ),
    ]


def others(device: str) -> list[Problem]:
    vision = torchvision.ops
    maps = torch.randn(2, 256, 50, 84, device=device)
    image = torch.arange(256, device=device)[:, None] % 2
    rois = torch.cat([image, random_boxes(256, device)], 1)
    logits, labels = torch.randn(20_000, 80, device=device), torch.randint(0, 81, (20_000,), device=device)
    hot = F.one_hot(labels, 81)[:, :80].float()
    masks = F.avg_pool2d(torch.randn(16, 1, 256, 256, device=device), 9, 1, 4)[:, 0] > 0
    return [
        Problem(
            "roi_align",
            "256 regions, 7 x 7, 256 channels",
            (maps, rois),
            lambda f, r: ops.roi_align(f, r, size=7, scale=1 / 16, sampling_ratio=2),
            {"torchvision": lambda f, r: vision.roi_align(f, r, 7, 1 / 16, 2, aligned=True)},
        ),
        Problem(
            "roi_pool",
            "256 regions, 7 x 7, 256 channels",
            (maps[:, :64], rois),
            lambda f, r: ops.roi_pool(f, r, size=7, scale=1 / 16),
            {"torchvision": lambda f, r: vision.roi_pool(f, r, 7, 1 / 16)},
        ),
        Problem(
            "roi_align_rotated",
            "256 regions, 7 x 7, 256 channels",
            (maps, torch.cat([image, rotated(256, device)], 1)),
            lambda f, r: ops.roi_align_rotated(f, r, size=7, scale=1 / 16, sampling_ratio=2),
            {},
        ),
        Problem(
            "sigmoid_focal_loss",
            "20,000 positions, 80 classes",
            (logits, labels),
            ops.sigmoid_focal_loss,
            {"torchvision": lambda x, _: vision.sigmoid_focal_loss(x, hot)},
        ),
        Problem("connected_components", "16 masks, 256 x 256", (masks,), ops.connected_components, {}),
    ]


def runs(problem: Problem, device: str) -> dict[str, Callable[[], Any]]:
    """Our kernels and what they are held against, by name."""
    name = problem.chosen_by or problem.op
    kernels = OPERATORS[name].kernels if name in OPERATORS else {"reference": None}

    def forced(backend: str) -> Callable[[], Any]:
        choice = f"{name}={backend}" if name in OPERATORS else "auto"

        def run() -> Any:
            with force_backend(choice):
                return problem.ours(*problem.tensors)

        return run

    found = {f"omma {k}": forced(k) for k in kernels if k == "reference" or device in DEVICES[k]}
    return found | {k: (lambda call=call: call(*problem.tensors)) for k, call in problem.others.items()}


def size(result: Any) -> int:
    if isinstance(result, Tensor):
        return result.numel() * result.element_size()
    return sum(size(part) for part in result)


def rows(problem: Problem, device: str, bandwidth: float, rounds: int) -> list[str]:
    calls = runs(problem, device)
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.no_grad():
        moved = size(problem.tensors) + size(problem.ours(*problem.tensors))
        for turn in range(rounds + 1):
            for name, call in calls.items():
                taken = seconds(call, device)
                if turn:  # the first compiles
                    times[name].append(taken)
    middle = {name: statistics.median(values) for name, values in times.items()}
    found = []
    for name, taken in middle.items():
        to = [f"{taken / middle[other]:.2f}" for other in ("omma reference", *problem.others)]
        against = ", ".join(f"{r} of {other}" for r, other in zip(to, ("reference", *problem.others)))
        share = f"{moved / taken / bandwidth:.1%}"
        cells = (
            problem.op,
            problem.note,
            name,
            f"{taken * 1e3:.2f} ms",
            f"{moved / 1e6:.2f} MB",
            share,
            against,
        )
        found.append(f"| {' | '.join(cells)} |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", default="", help="operators whose name has this in it")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = arguments.device
    named = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    bandwidth = copy_bandwidth(device)
    print(f"{named}, copy at {bandwidth / 1e9:.1f} GB/s\n")
    print(
        "| op | problem | run | median | bytes | of copy bandwidth | ratio |\n|---|---|---|---|---|---|---|"
    )
    for problem in (*suppression(device), *others(device)):
        if arguments.only in problem.op:
            print("\n".join(rows(problem, device, bandwidth, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
