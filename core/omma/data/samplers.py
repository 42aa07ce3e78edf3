"""Orders of an epoch, as pure functions of the epoch and the seed."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from omma.data.dataset import Dataset
from omma.registry import register


class Sampler(ABC):
    """Which samples an epoch has, in which order. Every epoch has the same number of them."""

    @abstractmethod
    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """Positions in the data set, (L,) int64; the same for the same arguments."""


@register
class RandomSampler(Sampler):
    """Every sample once, in an order drawn anew for each epoch."""

    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """A permutation."""
        return _generator(epoch, seed).permutation(len(dataset))


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
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be a share above 0 and at most 1, got {threshold}")
        self.threshold = threshold

    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """Each sample as often as its factor says, shuffled."""
        has = dataset.class_counts() > 0  # (L, C)
        share = has.mean(axis=0).clip(min=1 / len(dataset))
        factor = np.sqrt(self.threshold / share).clip(min=1)
        repeats = np.ceil(np.where(has, factor, 1).max(axis=1, initial=1)).astype(np.int64)
        return _generator(epoch, seed).permutation(np.repeat(np.arange(len(dataset)), repeats))


@register
class ClassBalancedSampler(Sampler):
    """Draws a class first and then a sample that has it, so that all classes come up equally often.

    Samples without objects count as a class of their own.
    """

    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """As many draws as the data set has samples, with replacement."""
        has = dataset.class_counts() > 0
        has = np.concatenate([has, ~has.any(axis=1, keepdims=True)], axis=1)
        has = has[:, has.any(axis=0)]
        members, sizes = np.nonzero(has.T)[1], has.sum(axis=0)  # samples of class 0, of class 1, ...
        generator = _generator(epoch, seed)
        group = generator.integers(has.shape[1], size=len(dataset))
        return members[(np.cumsum(sizes) - sizes)[group] + generator.integers(sizes[group])]


def _generator(epoch: int, seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, epoch))
