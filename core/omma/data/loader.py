"""Worker processes that turn keys into batches, the same whatever their number."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from omma.data.collate import collate
from omma.data.dataset import Dataset
from omma.data.multi_size import MultiSize
from omma.data.samplers import Sampler
from omma.data.stream import EvalStream, Key, TrainStream
from omma.data.workers import Crew, WorkerLog
from omma.errors import OmmaError
from omma.structures import Batch, Sample


class LoaderSettings(Protocol):
    """The fields of ``omma.experiment.Loader``."""

    dataset: Dataset
    batch_size: int
    workers: int
    sampler: Sampler | None
    group_by_aspect: bool
    timeout: float
    multi_size: MultiSize | None


class BatchLoader(DataLoader[Batch]):
    """Batches from worker processes.

    An ``OmmaError`` of a worker comes out as it was raised there. A worker that dies, or doesn't answer in
    time, gives a ``ProcessError`` with the image it was on.
    """

    def __iter__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Start the workers and return the iterator over batches."""
        if self.num_workers:
            # Here: a forked worker would wait for ever for the end of OpenCV's threads, which only we have.
            cv2.setNumThreads(1)
        batches: Any = super().__iter__()
        samples: Any = self.dataset
        return _raising(batches, Crew(getattr(batches, "_workers", ()), samples.log, samples.dataset))


def _raising(batches: Any, crew: Crew) -> Iterator[Batch]:
    failure = None
    try:
        for batch in batches:
            if isinstance(batch, OmmaError):
                failure = batch
                break
            yield batch
    except Exception as error:
        # torch's own look at its workers finds them late or gone; or one is lost while it hands over a batch.
        if isinstance(error, RuntimeError) and "DataLoader timed out" in str(error):
            failure = crew.late(batches._timeout)
        else:
            failure = crew.death(wait=1.0 if isinstance(error, EOFError | OSError) else 0.0)
        if failure is None:
            raise
    finally:
        # Now: the traceback of the error may hold this frame for long.
        crew.end()
    if failure is not None:
        raise failure


class SeededSamples(torch.utils.data.Dataset[Any]):
    """Gives each sample random generators of its own, seeded by (seed, epoch, position).

    So augmentation depends neither on the worker that does it nor on what was drawn before, and the
    generators of the training process stay untouched.
    """

    def __init__(
        self, dataset: Dataset, seed: int, log: WorkerLog, multi_size: MultiSize | None = None
    ) -> None:
        self.dataset = dataset
        self.seed = seed
        self.log = log
        self.multi_size = multi_size

    def __getitem__(self, key: Key) -> Sample | OmmaError:
        """The sample of a key, or what is wrong with it: the loader would wrap a traceback."""
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[Key]) -> list[Sample | OmmaError]:
        """The samples of one batch, each of which may have something of the others."""
        mates = [position for _, position, _ in keys]
        with kept_generators():
            samples: list[Any] = [self._sample(epoch, position, mates) for epoch, position, _ in keys]
        if self.multi_size is None or any(isinstance(sample, OmmaError) for sample in samples):
            return samples
        return [*self.multi_size.apply(samples, batch=keys[0][2], seed=self.seed)]

    def _sample(self, epoch: int, position: int, mates: Sequence[int]) -> Sample | OmmaError:
        with self.log.on(position):
            seed_generators(self.seed, epoch, position)
            try:
                return self.dataset.sample_at(position, epoch=epoch, mates=mates)
            except OmmaError as error:
                return error


@contextlib.contextmanager
def seeded(*words: int) -> Iterator[None]:
    """Seed torch, numpy and Python from ``words`` inside, and leave them as they were outside."""
    with kept_generators():
        seed_generators(*words)
        yield


@contextlib.contextmanager
def kept_generators() -> Iterator[None]:
    """Leave the generators of torch, numpy and Python as they were, whatever is drawn inside."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def seed_generators(*words: int) -> None:
    """Seed torch, numpy and Python from ``words``."""
    state = np.random.SeedSequence(words).generate_state(3)
    # torch.manual_seed would seed the GPUs too, which nothing restores.
    torch.default_generator.manual_seed(int(state[0]))
    np.random.seed(int(state[1]))
    random.seed(int(state[2]))


def make_train_loader(
    loader: LoaderSettings, *, seed: int, start: int = 0, rank: int = 0, world: int = 1
) -> BatchLoader:
    """Endless training batches from position ``start`` on; its length is that of an epoch.

    Args:
        loader: what the config says.
        seed: of the order and of all augmentation.
        start: batches of this process that were taken before.
        rank: which process this is.
        world: how many there are.

    Raises:
        DataError: the data set is smaller than one batch on each process.
    """
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
    return _make(loader, stream, seed, loader.multi_size)


def make_eval_loader(loader: LoaderSettings, *, rank: int = 0, world: int = 1) -> BatchLoader:
    """Every sample once over all processes, as listed; this process' share of them."""
    stream = EvalStream(len(loader.dataset), batch_size=loader.batch_size, rank=rank, world=world)
    return _make(loader, stream, seed=0)


def _make(
    loader: LoaderSettings,
    stream: TrainStream | EvalStream,
    seed: int,
    multi_size: MultiSize | None = None,
) -> BatchLoader:
    return BatchLoader(
        SeededSamples(loader.dataset, seed, WorkerLog(loader.workers), multi_size),
        batch_sampler=stream,  # pyright: ignore[reportArgumentType]  # typed for int, but any key will do
        num_workers=loader.workers,
        timeout=loader.timeout if loader.workers else 0,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_start_worker,
        # Without a generator of its own the loader would draw a base seed from the global one, and a resumed
        # run would see other dropout masks than a straight one.
        generator=torch.Generator(),
    )


def _collate(samples: Sequence[Any]) -> Batch | OmmaError:
    errors = [sample for sample in samples if isinstance(sample, OmmaError)]
    return errors[0] if errors else collate(samples)


def _start_worker(number: int) -> None:
    if cv2.getNumThreads() != 1:  # a spawned worker, which has no threads yet
        cv2.setNumThreads(1)
    torch.set_num_threads(1)
    # Ctrl-C reaches the whole group; the training process saves its state first and then ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Schedulers send SIGTERM to the whole group, and the training process still needs a batch or two to end
    # its step. The second one, DataLoader's own, ends a worker that hangs.
    signal.signal(signal.SIGTERM, lambda received, frame: signal.signal(received, signal.SIG_DFL))
