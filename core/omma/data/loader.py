"""Worker processes that turn keys into batches, the same whatever their number."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader

from omma.data.collate import collate
from omma.data.dataset import Dataset
from omma.data.samplers import Sampler
from omma.data.stream import EvalStream, Key, TrainStream
from omma.structures import Batch, Sample


class LoaderSettings(Protocol):
    """The fields of ``omma.experiment.Loader``."""

    dataset: Dataset
    batch_size: int
    workers: int
    sampler: Sampler | None
    group_by_aspect: bool


class Seeded(torch.utils.data.Dataset[Sample]):
    """Gives each sample random generators of its own, seeded by (seed, epoch, position).

    So augmentation depends neither on the worker that does it nor on what was drawn before, and the
    generators of the training process stay untouched.
    """

    def __init__(self, dataset: Dataset, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __getitem__(self, key: Key) -> Sample:
        """The sample at (epoch, position)."""
        with seeded(self.seed, *key):
            return self.dataset[key[1]]


@contextlib.contextmanager
def seeded(*words: int) -> Iterator[None]:
    """Seed torch, numpy and Python from ``words`` inside, and leave them as they were outside."""
    state = np.random.SeedSequence(words).generate_state(3)
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(state[0]))
        np.random.seed(int(state[1]))
        random.seed(int(state[2]))
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def make_train_loader(
    loader: LoaderSettings, *, seed: int, start: int = 0, rank: int = 0, world: int = 1
) -> DataLoader[Batch]:
    """Endless training batches from position ``start`` on; its length is that of an epoch."""
    stream = TrainStream(
        loader.dataset,
        sampler=loader.sampler,
        batch_size=loader.batch_size,
        group_by_aspect=loader.group_by_aspect,
        seed=seed,
        start=start,
        rank=rank,
        world=world,
    )
    return _loader(loader, stream, seed)


def make_eval_loader(loader: LoaderSettings, *, rank: int = 0, world: int = 1) -> DataLoader[Batch]:
    """Every sample once, this process' share of them."""
    stream = EvalStream(len(loader.dataset), batch_size=loader.batch_size, rank=rank, world=world)
    return _loader(loader, stream, seed=0)


def _loader(loader: LoaderSettings, stream: TrainStream | EvalStream, seed: int) -> DataLoader[Batch]:
    return DataLoader(
        Seeded(loader.dataset, seed),
        batch_sampler=stream,  # pyright: ignore[reportArgumentType]  # it asks for lists of int, keys do as well
        num_workers=loader.workers,
        collate_fn=collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_one_thread,
        # Without a generator of its own the loader would draw a base seed from the global one, and a resumed
        # run would see other dropout masks than a straight one.
        generator=torch.Generator(),
    )


def _one_thread(worker: int) -> None:
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
