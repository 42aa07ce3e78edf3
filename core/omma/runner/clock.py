"""Where the time and the memory go."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

import torch


class Clock:
    """Seconds per step, and those of them spent waiting for data, since the last reading."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._waited = 0.0
        self._steps = 0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """What runs inside is waiting for data."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    def tick(self) -> None:
        """A step is done."""
        self._steps += 1

    def read(self) -> dict[str, float]:
        """``time`` and ``data_time`` in seconds per step; starts anew."""
        steps = max(self._steps, 1)
        seconds = {"time": (time.perf_counter() - self._begin) / steps, "data_time": self._waited / steps}
        self.__init__()
        return seconds

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What runs inside (evaluation, saving) is no part of any step."""
        begin = time.perf_counter()
        yield
        self._begin += time.perf_counter() - begin


def memory_mb(device: torch.device) -> float:
    """Most memory held so far, MiB: allocated on the GPU, or resident of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
