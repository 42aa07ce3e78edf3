"""Workers that die or hang are told with the image they were on."""

from __future__ import annotations

import itertools
import os
import signal
import time
from typing import Any

import pytest

from omma.data.loader import make_eval_loader, make_train_loader
from omma.errors import ProcessError

from ..processes import loader_workers
from .small_dataset import Noise
from .test_loader import Loader


class Trouble(Noise):
    """Does something at image 3."""

    def __init__(self, action: Any) -> None:
        super().__init__([(2, 2)] * 8)
        self.action = action

    def __getitem__(self, index: int) -> Any:
        if index == 3:
            self.action()
        return super().__getitem__(index)

    def target(self, index: int) -> Any:
        return {"index": index, "id": index, "path": f"folder/{index}.jpg"}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    os._exit(7)


def sleep() -> None:
    time.sleep(1000)


def hang_in_c() -> None:
    # One call that never comes back to the interpreter, so that no handler of a signal would run.
    sum(itertools.count())


@pytest.mark.parametrize(("action", "how"), [(die, "was killed by SIGKILL"), (leave, "exit code 7")])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_is_told_with_its_image(action, how, workers):
    begin = time.monotonic()
    with pytest.raises(
        ProcessError, match=rf"worker \d of the data loader .*{how}.* on image 3 \(folder/3.jpg\)"
    ):
        list(make_eval_loader(Loader(Trouble(action), workers=workers)))
    assert time.monotonic() - begin < 10
    assert loader_workers() == []


@pytest.mark.parametrize("action", [sleep, hang_in_c])
def test_a_worker_that_hangs_is_told_with_its_image_and_ended(action):
    loader = make_eval_loader(Loader(Trouble(action), workers=2, timeout=1.0))
    begin = time.monotonic()
    with pytest.raises(
        ProcessError, match=r"for 1 s: worker \d has been on image 3 \(folder/3.jpg\) for [12] s"
    ):
        list(loader)
    assert time.monotonic() - begin < 10
    assert loader_workers() == []


def test_leaving_a_loader_ends_a_worker_that_hangs():
    batches = iter(make_train_loader(Loader(Trouble(hang_in_c), workers=1, batch_size=1), seed=0))
    next(batches)
    time.sleep(0.2)
    begin = time.monotonic()
    batches.close()
    assert time.monotonic() - begin < 3
    assert loader_workers() == []


def test_the_death_of_a_worker_is_heard_outside_of_the_loader():
    batches = iter(make_train_loader(Loader(Noise([(2, 2)] * 8), workers=1), seed=0))
    next(batches)
    (worker,) = loader_workers()

    def kill_and_wait() -> None:
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(5)

    with pytest.raises(ProcessError, match=r"killed by SIGKILL (between two images|on image)"):
        kill_and_wait()
    batches.close()
