"""What the core knows of a task: one ``Task`` object per task package, found by entry point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np

from omma.errors import SetupError
from omma.structures import DataInfo, Prediction, Sample

if TYPE_CHECKING:
    from omma.augmentation import Merge

GROUP = "omma.tasks"


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What ``omma demo`` does for a task, in the generated shapes world."""

    config: str
    """Name of the config that it trains."""
    baseline: str | None = None
    """Name of a config that is trained too, for comparison."""
    train: int = 400
    """Images to learn from."""
    val: int = 100
    """Images to judge by."""
    clips: int = 0
    """Clips to learn from; a quarter of it to judge by."""
    shown: str = "images/val"
    """What it predicts on: a folder or pattern in the folder of the shapes world."""
    size: int = 192
    """Side of the images, pixels."""
    boxes: str | None = None
    """Annotations whose boxes it predicts on, where models see one object at a time: a path in the folder of
    the shapes world."""


@dataclass(frozen=True)
class Task:
    """How the results of one task are drawn and written down."""

    name: str
    draw: Callable[[np.ndarray, Prediction, DataInfo], np.ndarray]
    """(H, W, 3) uint8 RGB image and a prediction in its pixels -> a new image with the prediction drawn."""
    draw_sample: Callable[[Sample, DataInfo], np.ndarray]
    """A (transformed) sample with its annotations -> (H, W, 3) uint8 RGB."""
    to_json: Callable[[Prediction, DataInfo], Any]
    """A prediction as plain JSON values."""
    demo: Demo | None = None
    """Null: there is none; packages of others need not have one."""
    class_lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Class names behind a word that ``data.classes`` may be, such as ``coco``."""
    merge: Callable[[], Merge] | None = None
    """Makes what turns predictions on several views of an image into one, where the task has that."""


def find_task(name: str) -> Task:
    """The installed task called ``name``.

    Raises:
        SetupError: no installed package provides it.
    """
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry.load()
    known = ", ".join(sorted(entry.name for entry in entry_points(group=GROUP)))
    raise SetupError(f"no installed package provides the task '{name}'; there are: {known}")
