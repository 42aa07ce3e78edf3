"""Skeletons seen from elsewhere, of other people, and less well."""

from __future__ import annotations

import math

import numpy as np
import torch

from omma.data.transforms.base import uniform
from omma.registry import register
from omma_action.transforms.skeleton import SkeletonTransform


@register
class RotateSkeleton(SkeletonTransform):
    """Turns the whole sequence about the origin by random angles.

    Args:
        degrees: largest angles either way about the axes x, y and z, in that order; of joints (x, y, score)
            the third alone counts.
        scored: whether the third number of a joint is a score.
    """

    def __init__(self, *, degrees: tuple[float, float, float], scored: bool = False) -> None:
        self.degrees, self.scored = degrees, scored

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(V, M, T, K, C) -> (V, M, T, K, C)."""
        about_x, about_y, about_z = (math.radians(uniform(-most, most)) for most in self.degrees)
        if not self.scored:
            x, y, z = _turn(about_x, 1, 2), _turn(about_y, 2, 0), _turn(about_z, 0, 1)
            return joints @ (z @ y @ x).T
        out = joints.copy()
        out[..., :2] = joints[..., :2] @ _turn(about_z, 0, 1)[:2, :2].T
        return out


def _turn(angle: float, first: int, second: int) -> np.ndarray:
    """(3, 3) rotation by ``angle`` radians from axis ``first`` towards ``second``."""
    matrix = np.eye(3, dtype=np.float32)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[second, first], matrix[first, second] = math.sin(angle), -math.sin(angle)
    return matrix


@register
class ScaleSkeleton(SkeletonTransform):
    """Stretches the whole sequence about the origin, along each axis by a random factor of its own.

    Args:
        amount: factors are drawn from 1 - amount to 1 + amount.
        scored: whether the third number of a joint is a score, which stays.
    """

    def __init__(self, *, amount: float = 0.2, scored: bool = False) -> None:
        if not 0 <= amount < 1:
            raise ValueError(f"amount must be in 0..1, got {amount}")
        self.amount, self.scored = amount, scored

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(V, M, T, K, C) -> (V, M, T, K, C)."""
        factors = 1 + self.amount * (2 * torch.rand(joints.shape[-1]).numpy() - 1)
        if self.scored:
            factors[2:] = 1
        return joints * factors


@register
class DropJoints(SkeletonTransform):
    """Joints that go missing for the whole sequence: all their numbers become 0.

    Args:
        prob: of each joint.
    """

    def __init__(self, *, prob: float) -> None:
        if not 0 <= prob < 1:
            raise ValueError(f"prob must be in 0..1, got {prob}")
        self.prob = prob

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(V, M, T, K, C) -> (V, M, T, K, C)."""
        kept = torch.rand(joints.shape[-2]).numpy() >= self.prob
        return joints * kept[:, None]
