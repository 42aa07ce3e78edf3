from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omma.data.loader import make_eval_loader, make_train_loader, seeded
from omma.errors import DataError

from .small_dataset import Noise


@dataclass
class Loader:
    dataset: Any
    workers: int = 0
    batch_size: int = 2
    sampler: Any = None
    group_by_aspect: bool = False
    timeout: float = 60.0
    multi_size: Any = None


def noise(length=7, **options):
    return Noise([(2, 2)] * length, **options)


def pixels(batches):
    return [torch.stack([torch.as_tensor(image) for image in batch.images]).tolist() for batch in batches]


def test_workers_change_nothing():
    in_process, in_workers = (
        pixels(islice(make_train_loader(Loader(noise(), workers=workers), seed=3), 8)) for workers in (0, 2)
    )
    assert in_process == in_workers


def test_an_epoch_augments_a_sample_differently_from_another():
    loader = make_train_loader(Loader(noise(1), batch_size=1), seed=3)
    first, second = pixels(islice(loader, 2))
    assert first != second


@pytest.mark.parametrize("workers", [0, 2])
def test_loading_leaves_the_global_generators_alone(workers):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()

    before = states()
    for _ in islice(make_train_loader(Loader(noise(), workers=workers), seed=3), 3):
        pass
    assert states() == before


def test_a_resumed_loader_goes_on_where_the_other_stopped():
    whole = pixels(islice(make_train_loader(Loader(noise()), seed=3), 9))
    assert pixels(islice(make_train_loader(Loader(noise()), seed=3, start=5), 4)) == whole[5:]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_data_error_comes_out_as_it_was_raised(workers):
    loader = make_eval_loader(Loader(noise(broken=(3,)), workers=workers))
    with pytest.raises(DataError) as caught:
        list(loader)
    assert str(caught.value) == "image 3 is broken"


def test_workers_start_after_opencv_has_used_threads():
    """Forked workers once waited for ever for threads of OpenCV that only the parent had."""
    script = """
import cv2, numpy
from tests.core.test_loader import Loader, make_eval_loader, noise
cv2.setNumThreads(4)
cv2.GaussianBlur(numpy.zeros((2000, 2000, 3), numpy.uint8), (31, 31), 0)
print(len(list(make_eval_loader(Loader(noise(), workers=1)))))
"""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "4\n", done.stderr


def test_evaluation_gives_every_sample_once_in_order():
    batches = list(make_eval_loader(Loader(noise(), workers=2)))
    assert [meta.index for batch in batches for meta in batch.metas] == list(range(7))


def test_the_length_of_a_train_loader_is_that_of_an_epoch():
    assert len(make_train_loader(Loader(noise()), seed=0)) == 3


def test_seeded_restores_the_generators_after_an_error():
    torch.manual_seed(1)
    expected = torch.rand(()).item()
    torch.manual_seed(1)
    with pytest.raises(KeyError):
        _fail_while_seeded()
    assert torch.rand(()).item() == expected


def _fail_while_seeded():
    with seeded(0, 1, 2):
        torch.rand(())
        raise KeyError
