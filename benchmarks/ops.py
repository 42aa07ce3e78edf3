"""Time of the operators, backend by backend and against torchvision: one table.

Claims, on the CPU: batched_nms of 10,000 boxes in 80 classes takes at most 1.1 of torchvision's, soft_nms
of 1,000 boxes at most a quarter of the plain loop over tensors, deformable attention at most as long as its
grid_sample reference, forward and with the backward pass. On a GPU: no operator is slower than torchvision's;
deformable attention with the backward pass, at the size of a 4-scale DINO (batch 2, 800 x 1333), takes at
most a third of the reference and has more than half of the bandwidth of a copy.

Backends take turns, so that whatever slows the machine slows all; medians count. What has taken ten seconds
isn't run again.

    python benchmarks/ops.py [--device cuda] [--half] [--only nms]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from op_problems import Problem, all_problems
from torch import Tensor

from omma.ops.backend import DEVICES, OPERATORS, force_backend

ROUNDS = {"cpu": 9, "cuda": 30}
_ENOUGH = 10.0
"""Seconds after which a run has been measured often enough."""
TITLES = ("op", "problem", "run", *("time", "bytes", "of copy bandwidth", "ratio") * 2)


def seconds(run: Callable[[], object], device: str) -> float:
    """Of one call; on a GPU until all of its work is done."""
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


def runs(problem: Problem, device: str) -> dict[str, Callable[..., Any]]:
    """Our kernels and what they are held against, by name; each takes the problem's tensors."""
    name = problem.chosen_by or problem.op
    # Operators that are nothing but plain PyTorch aren't in the table of choices.
    kernels = OPERATORS[name].kernels if name in OPERATORS else ("reference",)

    def forced(backend: str) -> Callable[..., Any]:
        choice = f"{name}={backend}" if name in OPERATORS else "auto"

        def run(**tensors: Tensor) -> Any:
            with force_backend(choice):
                return problem.call(**tensors, **problem.settings)

        return run

    found = {f"omma {k}": forced(k) for k in kernels if k == "reference" or device in DEVICES[k]}
    return found | problem.others


def passes(problem: Problem, run: Callable[..., Any]) -> list[Callable[[], object]]:
    """Forward, and with the backward pass where the problem has gradients."""
    leaves = {
        name: x.detach().requires_grad_() if name in problem.gradients else x
        for name, x in problem.tensors.items()
    }

    def forward() -> None:
        with torch.no_grad():
            run(**problem.tensors)

    def both() -> None:
        out = run(**leaves)
        torch.autograd.grad(out, [leaves[name] for name in problem.gradients], torch.ones_like(out))

    return [forward, both] if problem.gradients else [forward]


def size(result: Any) -> int:
    """Bytes of all tensors in it."""
    if isinstance(result, Tensor):
        return result.numel() * result.element_size()
    return sum(size(part) for part in result)


def measure(problem: Problem, device: str, rounds: int) -> dict[str, list[float]]:
    """Median seconds of each run, forward and with the backward pass."""
    calls = {name: passes(problem, run) for name, run in runs(problem, device).items()}
    times = {name: [[] for _ in each] for name, each in calls.items()}
    for turn in range(rounds + 1):
        for name, each in calls.items():
            for call, taken in zip(each, times[name]):
                if sum(taken) > _ENOUGH:
                    continue
                spent = seconds(call, device)
                if turn:  # the first compiles
                    taken.append(spent)
    return {name: [statistics.median(taken) for taken in each] for name, each in times.items()}


def rows(problem: Problem, device: str, bandwidth: float, rounds: int) -> list[str]:
    """The table's lines for one problem."""
    times = measure(problem, device, rounds)
    with torch.no_grad():
        output = size(problem.call(**problem.tensors, **problem.settings))
    inputs = size(tuple(problem.tensors.values()))
    moved = (inputs + output, 3 * inputs + 2 * output)
    rivals = [name for name in times if name in ("omma reference", "omma torchvision", *problem.others)]
    if "torchvision" in problem.others:  # the same kernel, called by itself
        rivals = [name for name in rivals if name != "omma torchvision"]
    found = []
    for name, each in times.items():
        cells = [problem.op, problem.note, name]
        for i, taken in enumerate(each):
            ratios = (f"{taken / times[rival][i]:.2f} of {rival.removeprefix('omma ')}" for rival in rivals)
            share = moved[i] / taken / bandwidth
            cells += [f"{taken * 1e3:.2f} ms", f"{moved[i] / 1e6:.2f} MB", f"{share:.1%}", ", ".join(ratios)]
        cells += [""] * (len(TITLES) - len(cells))
        found.append(f"| {' | '.join(cells)} |")
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--half", action="store_true", help="features in bfloat16")
    parser.add_argument("--only", default="", help="operators whose name has this in it")
    parser.add_argument("--rounds", type=int, help="measurements of each run")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = arguments.device
    named = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    bandwidth = copy_bandwidth(device)
    print(
        f"{named}, copy at {bandwidth / 1e9:.1f} GB/s; the second four columns are with the backward pass\n"
    )
    print(f"| {' | '.join(TITLES)} |\n|{'---|' * len(TITLES)}")
    for problem in all_problems(device, arguments.half):
        if arguments.only in problem.op:
            print("\n".join(rows(problem, device, bandwidth, arguments.rounds or ROUNDS[device])), flush=True)


if __name__ == "__main__":
    main()
