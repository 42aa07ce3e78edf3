"""Models one after the other, each looking at what the one before found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, cast

import numpy as np

from omma.errors import SetupError
from omma.inference.predictor import Predictor
from omma.inference.results import Result, Seen
from omma.inference.sources import FrameSource, Source
from omma.structures import DataInfo, Prediction


class Opening(Protocol):
    """What a chain begins with: something is found in each image, by a model or in a file."""

    info: DataInfo

    def __call__(self, source: Source | FrameSource) -> Iterator[Seen]:
        """What was found in each image, in order."""
        ...


class Stage(Protocol):
    """What follows in a chain: it takes what was found in image after image and says more, or says it better.

    It may hold images back until it knows enough, but neither drops nor reorders any.
    """

    def joins(self, before: DataInfo) -> DataInfo:
        """What its classes and key points are called if this is what they are called before it.

        Raises:
            SetupError: it can't follow such a stage.
        """
        ...

    def after(self, found: Iterable[Seen]) -> Iterator[Seen]:
        """What is said about each image after this stage."""
        ...


class Chain:
    """Stages one after the other; results are drawn and written down as those of the last model.

    Images flow through: no stage waits for the one before to end. ::

        people = Predictor("rtmdet_m_8xb32-300e_coco", "rtmdet_m.pth")
        poses = Predictor("rtmpose-m_8xb256-420e_coco-256x192", "rtmpose-m.pth")
        for result in Chain([people, poses, Tracking(), Smoothing()])("street.mp4"):
            ...

    Args:
        stages: a ``Predictor`` or ``BoxFile``, and what follows it: predictors that look at the objects
            found before them, ``KeypointNMS``, ``Tracking``, ``Smoothing``, or anything that is a ``Stage``.

    Raises:
        SetupError: a stage can't be first or can't follow the one before, or there is no model.
    """

    def __init__(self, stages: Sequence[Opening | Stage]) -> None:
        models = [stage for stage in stages if isinstance(stage, Predictor)]
        if not models:
            raise SetupError("a chain needs a model: a Predictor among its stages")
        if not callable(stages[0]):
            raise SetupError(
                f"a chain begins with a Predictor or a BoxFile, not with {type(stages[0]).__name__}"
            )
        self.first, self.rest = cast(Opening, stages[0]), cast("list[Stage]", list(stages[1:]))
        self.config, self.of_stretches = models[-1].config, models[-1].of_stretches
        self.info = self.first.info
        for stage in self.rest:
            self.info = stage.joins(self.info)

    def __call__(self, source: Source | FrameSource) -> Iterator[Result]:
        """Predict on all that ``source`` holds, in order; see ``open_source``.

        Raises:
            DataError: nothing is there, or a file can't be decoded.
        """
        found = self.first(source)
        for stage in self.rest:
            found = stage.after(found)
        # From the first model on they are results.
        return cast("Iterator[Result]", found)

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predictions for (H, W, 3) uint8 RGB arrays, in the pixels of each.

        Raises:
            DataError: an array is no such image.
        """
        return [result.prediction for result in self(list(images))] if len(images) else []
