"""What changes of skeletons share."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

import numpy as np
import torch

from omma.data.transforms import Transform
from omma.structures import Sample


class SkeletonTransform(Transform):
    """A change of a sample's joints, float32 (V, M, T, K, C)."""

    @abstractmethod
    def change(self, joints: np.ndarray) -> np.ndarray:
        """The changed joints; those that come in stay as they are."""

    def __call__(self, sample: Sample) -> Sample:
        """The sample with changed joints."""
        return with_joints(sample, self.change(sample["skeleton"].numpy()))


def with_joints(sample: Sample, joints: np.ndarray, canvas: tuple[int, int] | None = None) -> Sample:
    """The sample with other joints, and with another canvas if one is given."""
    changed = {**sample, "skeleton": torch.from_numpy(np.ascontiguousarray(joints, np.float32))}
    if canvas is not None:
        changed["canvas"] = canvas
    return cast(Sample, changed)


def present(joints: np.ndarray) -> np.ndarray:
    """(...) bool: which of the joints (..., C) were found at all."""
    return np.asarray(np.any(joints, axis=-1))
