"""What the exchange between two processes costs.

Claim: two DDP processes on two cores make at least 0.9 of the steps of two processes that know nothing of
each other, on the detector and the batches of ``omma demo``. Both switch between the two kinds of step, a few
of the one after a few of the other, so that whatever slows the machine slows both.

    python benchmarks/ddp.py
"""

from __future__ import annotations

import os
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

from omma.config import Config, check
from omma.data.loader import make_train_loader
from omma.data.shapes import make_shapes
from omma.experiment import Experiment
from omma.parallel import end_processes, share_buffers, start_processes, wrap

ROUNDS, STEPS = 12, 3


def steps(net: Any, model: Any, optimizer: Any, batches: Any, *, shared: bool) -> float:
    """Seconds a step."""
    dist.barrier()
    begin = time.perf_counter()
    for _ in range(STEPS):
        torch.stack(list(net(next(batches)).values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if shared:
            share_buffers(model)
    return (time.perf_counter() - begin) / STEPS


def work(rank: int, port: int, root: str) -> None:
    """One of the two processes; the first prints."""
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    device = torch.device("cpu")
    start_processes(device)
    config = Config.load("fcos_r18_shapes", [f"data.root={root}", "data.train.workers=0"])
    kinds: dict[str, tuple[Any, ...]] = {}
    for mode in ("none", "ddp"):
        experiment: Experiment = check(config, Experiment).build()
        assert experiment.data.train is not None
        model = experiment.model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
        batches = iter(make_train_loader(experiment.data.train, seed=0, rank=rank, world=2))
        kinds[mode] = (wrap(model, mode, device), model, optimizer, batches)
    times: dict[str, list[float]] = {mode: [] for mode in kinds}
    for _ in range(ROUNDS):
        for mode, parts in kinds.items():
            times[mode].append(steps(*parts, shared=mode == "ddp"))
    alone, together = (statistics.median(times[mode][1:]) for mode in ("none", "ddp"))
    if rank == 0:
        print(f"{'two processes alone, ms a step':34} {1000 * alone:8.1f}")
        print(f"{'two processes with DDP, ms a step':34} {1000 * together:8.1f}")
        print(f"{'  efficiency':34} {alone / together:8.3f}   >= 0.9")
    end_processes()


def main() -> None:
    """Start both."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as root:
        make_shapes(Path(root), train=256, val=1, test=1)
        spawn(work, (port, root), 2)


if __name__ == "__main__":
    main()
