"""Settings and fixtures that every test shares."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .processes import Processes

# Before anything imports Triton: on a machine without an NVIDIA GPU its kernels are interpreted.
if shutil.which("nvidia-smi") is None:
    os.environ.setdefault("TRITON_INTERPRET", "1")

SHARED = Path(os.environ.get("OMMA_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tests run side by side; each process keeps to one thread."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests find out about their files is not kept for later."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMMA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def two_processes() -> Iterator[Processes]:
    """Two processes in one group; the runs they make are parallel."""
    from .processes import Processes

    processes = Processes(2)
    yield processes
    processes.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of lent data sets; tests that need it skip where it is absent."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}")
    return folder


@pytest.fixture(scope="session")
def shapes_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shapes world: 24 training and 8 validation images of 160 pixels, 8 and 2 clips.

    Each process of a parallel session makes its own, so that none waits for or sees half of another's.
    """
    from omma.data.shapes import make_shapes

    out = tmp_path_factory.mktemp("shapes_world")
    make_shapes(out, train=24, val=8, size=160, clips=8)
    return out
