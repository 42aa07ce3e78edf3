"""The endless sequence of batches as a function of (seed, position)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from omma.data.dataset import Dataset
from omma.data.samplers import RandomSampler, Sampler
from omma.errors import DataError

Key = tuple[int, int, int]
"""(epoch, position in the data set, number of the batch in the run): what a worker is asked for."""


class TrainStream:
    """Batches of keys for one of ``world`` processes, starting at any position.

    The processes take turns over the batches of an epoch. What doesn't fill a last round of batches is left
    out of that epoch, so every epoch has the same number of batches on every process.

    Args:
        dataset: for its length, sizes and classes.
        sampler: order of an epoch; None: random.
        batch_size: samples per batch and process.
        group_by_aspect: make batches of wide or of tall images only.
        seed: of the order.
        start: batches of this process that were taken before.
        rank: which process this is.
        world: how many there are.

    Raises:
        DataError: the samples don't fill one batch on each process.
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
        if batch_size < 1:
            raise DataError(f"batch_size: expected at least 1, got {batch_size}")
        self.dataset, self.sampler, self.batch_size = dataset, sampler or RandomSampler(), batch_size
        self.seed, self.start, self.rank, self.world = seed, start, rank, world
        sizes = dataset.image_sizes
        self.wide = sizes[:, 1] >= sizes[:, 0] if group_by_aspect else None
        samples = len(self.sampler.order(dataset, 0, seed))
        self.epoch_length = samples // (batch_size * world)
        """Batches of one process in an epoch."""
        if not self.epoch_length:
            processes = f" on each of {world} processes" if world > 1 else ""
            raise DataError(
                f"{samples} training samples don't fill one batch of {batch_size}{processes}; lower "
                "data.train.batch_size"
            )

    def __len__(self) -> int:
        return self.epoch_length

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, first = divmod(self.start, self.epoch_length)
        number = self.start
        while True:
            for batch in self._epoch(epoch)[first * self.world + self.rank :: self.world]:
                yield [(epoch, int(position), number) for position in batch]
                number += 1
            epoch, first = epoch + 1, 0

    def _epoch(self, epoch: int) -> np.ndarray:
        """All batches of an epoch, (batches, batch_size)."""
        order = self.sampler.order(self.dataset, epoch, self.seed)
        count = self.epoch_length * self.world
        batches = self._grouped(order, epoch) if self.wide is not None else order
        return batches[: count * self.batch_size].reshape(count, self.batch_size)

    def _grouped(self, order: np.ndarray, epoch: int) -> np.ndarray:
        """The order rearranged into batches of one aspect, each standing where its last sample stood.

        What fills no batch of its aspect comes last, mixed.
        """
        assert self.wide is not None
        size, wide = self.batch_size, self.wide[order]
        batches, ends, rest = [], [], []
        for places in (np.flatnonzero(wide), np.flatnonzero(~wide)):
            full = len(places) // size * size
            batches.append(places[:full].reshape(-1, size))
            ends.append(places[size - 1 : full : size])
            rest.append(places[full:])
        by_end = np.concatenate(batches)[np.argsort(np.concatenate(ends))]
        # Samples at the very end are left out; which ones must not hang on their aspect.
        left = np.random.default_rng((self.seed, epoch, 1)).permutation(np.concatenate(rest))
        return order[np.concatenate([by_end.ravel(), left])]


class EvalStream:
    """Each sample once over all processes, as listed; the last batch may be short.

    Args:
        length: of the data set.
        batch_size: samples per batch.
        rank: which process this is.
        world: how many there are.
    """

    def __init__(self, length: int, *, batch_size: int, rank: int = 0, world: int = 1) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size: expected at least 1, got {batch_size}")
        self.positions = range(rank, length, world)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.positions) // self.batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for first in range(0, len(self.positions), self.batch_size):
            number = first // self.batch_size
            yield [(0, position, number) for position in self.positions[first : first + self.batch_size]]
