"""Orders of an epoch, as pure functions of the epoch and the seed."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from omma.data.dataset import Dataset
from omma.registry import register


class Sampler(ABC):
    """Which samples an epoch has, in which order. Every epoch has the same number."""

    @abstractmethod
    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """Positions in the data set, (L,) int64; the same for the same arguments."""


def _shuffled(indices: np.ndarray, epoch: int, seed: int) -> np.ndarray:
    return np.random.default_rng((seed, epoch)).permutation(indices)


@register
class RandomSampler(Sampler):
    """Every sample once, in an order drawn anew for each epoch."""

    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """A permutation."""
        return _shuffled(np.arange(len(dataset)), epoch, seed)


@register
class SequentialSampler(Sampler):
    """Every sample once, as listed."""

    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """0, 1, 2, ..."""
        return np.arange(len(dataset))


@register
class RepeatFactorSampler(Sampler):
    """Samples with rare classes several times (Gupta et al., LVIS, 2019).

    A class that is in a share f of the samples has the factor max(1, sqrt(threshold / f)); a sample is taken
    as often as the largest factor of its classes says, rounded up.

    Args:
        threshold: share below which a class counts as rare.
    """

    def __init__(self, *, threshold: float = 1e-3) -> None:
        if threshold <= 0:
            raise ValueError(f"threshold must be positive, got {threshold}")
        self.threshold = threshold

    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """Each sample as often as its factor says, shuffled."""
        has = dataset.class_counts() > 0  # (L, C)
        share = has.mean(axis=0)
        factor = np.sqrt(self.threshold / np.maximum(share, 1e-12)).clip(min=1)
        repeats = np.ceil(np.where(has, factor, 1).max(axis=1, initial=1)).astype(np.int64)
        return _shuffled(np.repeat(np.arange(len(dataset)), repeats), epoch, seed)


@register
class ClassBalancedSampler(Sampler):
    """Draws a class first and then a sample that has it, so that all classes come up equally often.

    Samples without objects count as a class of their own.
    """

    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """As many draws as the data set has samples, with replacement."""
        has = dataset.class_counts() > 0
        has = np.concatenate([has, ~has.any(axis=1, keepdims=True)], axis=1)
        groups = [np.flatnonzero(column) for column in has.T if column.any()]
        rng = np.random.default_rng((seed, epoch))
        which = rng.integers(len(groups), size=len(dataset))
        return np.array([groups[g][rng.integers(len(groups[g]))] for g in which], dtype=np.int64)
