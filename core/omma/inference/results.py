"""What is said about one image, on its way through a chain and out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from omma.inference.sources import Frame
from omma.structures import DataInfo, Prediction
from omma.task import Task


@dataclass(frozen=True)
class Span:
    """A stretch of a video, in seconds since its first frame."""

    start: float
    end: float


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
    span: Span | None = None
    """Of the stretch of the video that the prediction is about, where it isn't about the one frame."""

    def draw(self) -> np.ndarray:
        """A new (H, W, 3) uint8 RGB image with the prediction drawn."""
        return self.task.draw(self.frame.image, self.prediction, self.info)

    def to_json(self) -> dict[str, Any]:
        """Path, frame number or stretch of a video, size, and the prediction in the task's own form."""
        height, width = self.frame.image.shape[:2]
        place: dict[str, Any] = {}
        if self.span is not None:
            place = {"start": self.span.start, "end": self.span.end}
        elif self.frame.number is not None:
            place = {"frame": self.frame.number}
        return {
            "path": self.path,
            **place,
            "width": width,
            "height": height,
            "prediction": self.task.to_json(self.prediction, self.info),
        }
