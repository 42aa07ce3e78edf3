"""The random generators of a process: seeding, and states as tensors and plain containers."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed PyTorch on all devices, NumPy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def rng_state(device: torch.device) -> dict[str, Any]:
    """State of all generators in a form that ``torch.load(weights_only=True)`` reads."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    version, words, gauss_next = random.getstate()
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": [version, list(words), gauss_next],
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Put the generators back into ``state``.

    Raises:
        Exception: of any kind: it is no such state.
    """
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    if not 0 <= position <= len(keys):  # NumPy takes it as it is and reads outside of its memory
        raise ValueError(f"position {position} in the generator of NumPy")
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextlib.contextmanager
def untouched_rng(device: torch.device) -> Iterator[None]:
    """What runs inside draws as it likes; the generators are then as before."""
    state = rng_state(device)
    try:
        yield
    finally:
        set_rng_state(state, device)
