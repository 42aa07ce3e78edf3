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
        generator = _generator(epoch, seed)
        return _members(has, generator.integers(has.shape[1], size=len(dataset)), generator)


@register
class RareClassSampler(Sampler):
    """Draws a class, a rare one more often, and then a sample that has it (Hoyer et al., DAFormer, 2022).

    A class with a share f of all objects, or pixels, is drawn with a probability in proportion to
    exp((1 - f) / temperature).

    Args:
        temperature: towards 0 the rarest class alone is drawn, at large values all are equally often.
        least: a sample has a class if there are so many objects, or pixels, of it; or as many as there are in
            the sample with the most of it.
    """

    def __init__(self, *, temperature: float = 0.01, least: int = 1) -> None:
        if temperature <= 0 or least < 1:
            raise ValueError(
                f"need a positive temperature and least from 1 on, got {temperature} and {least}"
            )
        self.temperature, self.least = temperature, least

    def order(self, dataset: Dataset, epoch: int, seed: int) -> np.ndarray:
        """As many draws as the data set has samples, with replacement; at random if no sample has a class."""
        counts = dataset.class_counts()  # (L, C)
        counts = counts[:, counts.any(axis=0)]
        generator = _generator(epoch, seed)
        if not counts.size:
            return generator.permutation(len(dataset))
        total = counts.sum(axis=0, dtype=np.float64)
        weight = (1 - total / total.sum()) / self.temperature
        weight = np.exp(weight - weight.max())
        group = generator.choice(len(total), size=len(dataset), p=weight / weight.sum())
        return _members(counts >= np.minimum(self.least, counts.max(axis=0)), group, generator)


def _members(has: np.ndarray, group: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A row at random for each of the columns ``group``, among those that have the column, (L, C) bool."""
    members, sizes = np.nonzero(has.T)[1], has.sum(axis=0)  # samples of class 0, of class 1, ...
    return members[(np.cumsum(sizes) - sizes)[group] + generator.integers(sizes[group])]


def _generator(epoch: int, seed: int) -> np.random.Generator:
    return np.random.default_rng((seed, epoch))
