"""Several processes in one gloo group, which run functions for the tests."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing import active_children, get_all_start_methods, set_start_method
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing import get_context

_PATIENCE = 240  # seconds until a function counts as hung


def loader_workers() -> list[BaseProcess]:
    """The worker processes of loaders that live now; those of ``Processes`` aren't daemons."""
    return [child for child in active_children() if child.daemon]


class Processes:
    """``count`` processes that stay up between tests, as starting one costs seconds."""

    def __init__(self, count: int) -> None:
        context = get_context("spawn")
        root = str(Path(__file__).parents[1])
        if root not in sys.path:  # where the processes find the functions' modules
            sys.path.append(root)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pairs = [context.Pipe() for _ in range(count)]
        self._pipes = [ours for ours, _ in pairs]
        self._processes = [
            context.Process(target=_serve, args=(rank, count, port, theirs))
            for rank, (_, theirs) in enumerate(pairs)
        ]
        for process in self._processes:
            process.start()

    def run(self, function: Callable[..., Any], *args: Any, **words: Any) -> list[Any]:
        """What ``function(*args, **words)`` returns on each process, by rank."""
        for pipe in self._pipes:
            pipe.send((function, args, words))
        results = []
        for rank, pipe in enumerate(self._pipes):
            assert pipe.poll(_PATIENCE), f"process {rank} hangs in {function.__name__}"
            trouble, result = pipe.recv()
            assert trouble is None, f"process {rank}:\n{trouble}"
            results.append(result)
        return results

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(10)
            process.kill()


def _serve(rank: int, world: int, port: int, pipe: Connection) -> None:
    torch.set_num_threads(1)
    # The loader's workers: as in a process that was not itself spawned by Python.
    set_start_method(get_all_start_methods()[0], force=True)
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    while True:
        try:
            function, args, words = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((None, function(*args, **words)))
        except Exception:
            pipe.send((traceback.format_exc(), None))
