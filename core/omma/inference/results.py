"""What is said about one image, on its way through a chain and out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omma.inference.sources import Frame
from omma.structures import DataInfo, Prediction
from omma.task import Task


@dataclass(frozen=True)
class Seen:
    """One image and what was found in it."""

    frame: Frame
    prediction: Prediction
    """In pixels of ``frame.image``, on the CPU."""
    info: DataInfo

    @property
    def path(self) -> str:
        """Of the image or video."""
        return self.frame.path


@dataclass(frozen=True)
class Result(Seen):
    """What a model says about one image; scores from the threshold on."""

    task: Task

    def draw(self) -> np.ndarray:
        """A new (H, W, 3) uint8 RGB image with the prediction drawn."""
        return self.task.draw(self.frame.image, self.prediction, self.info)

    def to_json(self) -> dict[str, Any]:
        """Path, frame number in a video, size, and the prediction in the task's own form."""
        height, width = self.frame.image.shape[:2]
        place = (
            {"path": self.path}
            if self.frame.number is None
            else {"path": self.path, "frame": self.frame.number}
        )
        return {
            **place,
            "width": width,
            "height": height,
            "prediction": self.task.to_json(self.prediction, self.info),
        }
