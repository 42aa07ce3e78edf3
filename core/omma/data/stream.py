"""The endless sequence of batches as a function of (seed, position)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from omma.data.dataset import Dataset
from omma.data.samplers import RandomSampler, Sampler

Key = tuple[int, int]
"""(epoch, position in the data set): what a worker is asked for."""


class TrainStream:
    """Batches of keys for one of ``world`` processes, starting at any position.

    The processes take turns over the batches of an epoch. What doesn't fill a last round of batches is left
    out of that epoch; every epoch has the same number of batches.

    Args:
        dataset: for its length, sizes and classes.
        sampler: order of an epoch; null: random.
        batch_size: samples per batch and process.
        group_by_aspect: make batches of wide or of tall images only.
        seed: of the order.
        start: batches of this process that were taken before.
        rank, world: which process of how many.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        sampler: Sampler | None,
        batch_size: int,
        group_by_aspect: bool,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.dataset, self.sampler, self.batch_size = dataset, sampler or RandomSampler(), batch_size
        self.seed, self.start, self.rank, self.world = seed, start, rank, world
        sizes = dataset.image_sizes
        self.wide = sizes[:, 1] >= sizes[:, 0] if group_by_aspect else None
        samples = len(self.sampler.order(dataset, 0, seed))
        self.epoch_length = samples // (batch_size * world)
        """Batches of one process in an epoch."""
        if not self.epoch_length:
            raise ValueError(f"{samples} samples don't fill one batch of {batch_size} on {world} processes")

    def __len__(self) -> int:
        return self.epoch_length

    def __iter__(self) -> Iterator[list[Key]]:
        position = self.start
        while True:
            epoch, first = divmod(position, self.epoch_length)
            batches = self._epoch(epoch)
            for number in range(first, self.epoch_length):
                yield [(epoch, int(i)) for i in batches[number * self.world + self.rank]]
            position = (epoch + 1) * self.epoch_length

    def _epoch(self, epoch: int) -> np.ndarray:
        """All batches of an epoch, (batches, batch_size)."""
        order = self.sampler.order(self.dataset, epoch, self.seed)
        if self.wide is not None:
            order = self._by_aspect(order, epoch)
        count = self.epoch_length * self.world
        return order[: count * self.batch_size].reshape(count, self.batch_size)

    def _by_aspect(self, order: np.ndarray, epoch: int) -> np.ndarray:
        """The order rearranged into batches of one aspect; what fills none comes last, mixed."""
        assert self.wide is not None
        full, rest = [], []
        for group in (order[self.wide[order]], order[~self.wide[order]]):
            cut = len(group) // self.batch_size * self.batch_size
            full.append(group[:cut].reshape(-1, self.batch_size))
            rest.append(group[cut:])
        batches = np.concatenate(full)
        shuffled = np.random.default_rng((self.seed, epoch, 1)).permutation(len(batches))
        return np.concatenate([batches[shuffled].ravel(), *rest])


class EvalStream:
    """Each sample once over all processes, as listed; the last batch may be short.

    Args:
        length: of the data set.
        batch_size: samples per batch.
        rank, world: which process of how many.
    """

    def __init__(self, length: int, *, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.indices = range(rank, length, world)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for first in range(0, len(self.indices), self.batch_size):
            yield [(0, i) for i in self.indices[first : first + self.batch_size]]
