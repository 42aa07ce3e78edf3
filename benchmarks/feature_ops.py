"""Time of the operators on features, backend by backend.

Claims: on the CPU deformable attention takes at most 1.0 of its grid_sample reference, forward and with
the backward pass. On a GPU, at the size of a 4-scale DINO (batch 2, 800 x 1333), it takes at most a third,
and has more than half of the bandwidth of a copy. Deformable convolution takes at most what torchvision's
kernel does.

The bytes of a problem are those of its tensors, read or written once: forward inputs and output, and with
the backward pass the inputs twice, the output and its gradient, and the inputs' gradients. Backends take
turns, so that whatever slows the machine slows all; the best of the rounds counts.

    python benchmarks/feature_ops.py [--device cuda] [--half] [--only ms_deform_attn]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from omma import ops
from omma.ops.backend import DEVICES, OPERATORS, force_backend

ROUNDS = {"cpu": 5, "cuda": 30}


@dataclass(frozen=True)
class Problem:
    op: str
    note: str
    call: Callable[..., Tensor]
    tensors: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)


def problems(device: str, half: bool) -> list[Problem]:
    """At the sizes of published models on a GPU; smaller ones on the CPU."""
    gpu = device == "cuda"
    n, shrink = (2, 1) if gpu else (1, 2)
    dtype = torch.bfloat16 if half else torch.float32

    def features(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, dtype=dtype)

    h, w = 200 // shrink, 336 // shrink
    return [
        *attention(n, shrink, device, features),
        Problem(
            "deform_conv2d",
            "256 channels, stride 16",
            ops.deform_conv2d,
            {
                "x": features(n, 256, h // 4, w // 4),
                "offset": torch.randn(n, 18, h // 4, w // 4, device=device),
                "weight": features(256, 256, 3, 3),
                "mask": torch.rand(n, 9, h // 4, w // 4, device=device),
            },
            {"padding": 1},
        ),
        Problem(
            "carafe",
            "256 channels, stride 8 to 4",
            ops.carafe,
            {"x": features(n, 256, h // 2, w // 2), "kernels": features(n, 25, h // 2 * 2, w // 2 * 2)},
            {"kernel_size": 5, "scale": 2},
        ),
        Problem(
            "criss_cross_attention",
            "97 x 97",
            ops.criss_cross_attention,
            {
                "query": features(n, 64, 97, 97),
                "key": features(n, 64, 97, 97),
                "value": features(n, 512, 97, 97),
            },
        ),
        Problem(
            "corner_pool",
            "128 x 128",
            ops.corner_pool,
            {"x": features(n, 128, 128, 128)},
            {"direction": "top"},
        ),
        Problem(
            "window_partition",
            "stage 1 of Swin-T, shifted",
            ops.window_partition,
            {"x": features(n, h, w, 96)},
            {"size": 7, "shift": 3},
        ),
        Problem(
            "dynamic_conv2d",
            "CondInst, 100 instances",
            ops.dynamic_conv2d,
            {
                "x": features(100, 10, h // 2, w // 2),
                "weight": features(100, 8, 10, 1, 1),
                "bias": features(100, 8),
            },
        ),
    ]


def attention(n: int, shrink: int, device: str, features: Callable[..., Tensor]) -> list[Problem]:
    sizes = [(100 // shrink, 167 // shrink), (50 // shrink, 84 // shrink), (25 // shrink, 42 // shrink)]
    sizes.append((13 // shrink, 21 // shrink))
    cells = sum(h * w for h, w in sizes)
    found = []
    for queries, note in ((cells, "DINO encoder"), (300, "DINO decoder, 300 queries")):
        weights = torch.rand(n, queries, 8, 16, device=device).softmax(-1)
        tensors = {
            "value": features(n, cells, 8, 32),
            "locations": torch.rand(n, queries, 8, 4, 4, 2, device=device),
            "weights": weights.reshape(n, queries, 8, 4, 4),
        }
        found.append(Problem("ms_deform_attn", note, ops.ms_deform_attn, tensors, {"sizes": sizes}))
    return found


def seconds(run: Callable[[], object], device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def copy_bandwidth(device: str) -> float:
    """Bytes read and written per second."""
    source = torch.empty(2**28 if device == "cuda" else 2**25, device=device)
    target = torch.empty_like(source)
    best = min(seconds(lambda: target.copy_(source), device) for _ in range(10))
    return 2 * source.numel() * source.element_size() / best


def measure(problem: Problem, device: str) -> dict[str, tuple[float, float]]:
    """Of each backend that runs here the seconds forward, and with the backward pass."""
    backends = [
        name for name in OPERATORS[problem.op].kernels if name == "reference" or device in DEVICES[name]
    ]
    leaves = {name: x.detach().requires_grad_() for name, x in problem.tensors.items()}

    def forward() -> Tensor:
        with torch.no_grad():
            return problem.call(**problem.tensors, **problem.settings)

    def both() -> None:
        out = problem.call(**leaves, **problem.settings)
        torch.autograd.grad(out, list(leaves.values()), torch.ones_like(out))

    best: dict[str, list[float]] = {name: [float("inf")] * 2 for name in backends}
    for turn in range(ROUNDS[device] + 1):
        for name in backends:
            with force_backend(f"{problem.op}={name}"):
                for i, run in enumerate((forward, both)):
                    taken = seconds(run, device)
                    if turn:  # the first compiles
                        best[name][i] = min(best[name][i], taken)
    return {name: (times[0], times[1]) for name, times in best.items()}


def rows(problem: Problem, device: str, bandwidth: float) -> list[str]:
    times = measure(problem, device)
    out = problem.call(**problem.tensors, **problem.settings)
    inputs = sum(x.numel() * x.element_size() for x in problem.tensors.values())
    output = out.numel() * out.element_size()
    moved = (inputs + output, 3 * inputs + 2 * output)
    found = []
    for name, taken in times.items():
        cells = [problem.op, problem.note, name]
        for i in (0, 1):
            share = moved[i] / taken[i] / bandwidth
            to_reference = taken[i] / times["reference"][i]
            cells += [
                f"{taken[i] * 1e3:.2f} ms",
                f"{moved[i] / 1e6:.0f} MB",
                f"{share:.0%}",
                f"{to_reference:.2f}",
            ]
        cells.append(f"{taken[1] / times['torchvision'][1]:.2f}" if "torchvision" in times else "")
        found.append(f"| {' | '.join(cells)} |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--half", action="store_true", help="features in bfloat16")
    parser.add_argument("--only", default="", help="operators whose name has this in it")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = arguments.device
    named = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    bandwidth = copy_bandwidth(device)
    print(f"{named}, copy at {bandwidth / 1e9:.1f} GB/s\n")
    head = ("time", "bytes", "of copy bandwidth", "of reference")
    titles = [
        "op",
        "problem",
        "backend",
        *head,
        *(f"{each}, with backward" for each in head),
        "of torchvision",
    ]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for problem in problems(device, arguments.half):
        if arguments.only in problem.op:
            print("\n".join(rows(problem, device, bandwidth)), flush=True)


if __name__ == "__main__":
    main()
