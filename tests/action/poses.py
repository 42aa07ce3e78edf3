"""Samples of skeletons for tests."""

from __future__ import annotations

import numpy as np
import torch

from omma.structures import Meta, Sample


def sample(
    *, persons: int = 1, frames: int = 7, joints: int = 17, canvas: tuple[int, int] = (48, 64), seed: int = 0
) -> Sample:
    """Joints anywhere in the canvas with scores of 0.1 to 1; without one they lie in space."""
    rng = np.random.default_rng(seed)
    numbers = rng.random((1, persons, frames, joints, 3))
    if min(canvas):
        numbers[..., :2] = 0.5 + numbers[..., :2] * (np.array(canvas[::-1]) - 1)
        numbers[..., 2] = 0.1 + 0.9 * numbers[..., 2]
    else:
        numbers = 2 * numbers - 1
    return Sample(
        skeleton=torch.from_numpy(numbers.astype(np.float32)),
        canvas=canvas,
        labels=torch.tensor([0]),
        meta=Meta(index=0, id="a", path="a", height=canvas[0], width=canvas[1]),
    )


def joints_of(changed: Sample) -> np.ndarray:
    return changed["skeleton"].numpy()
