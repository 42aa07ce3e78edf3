"""The contract of every metric."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from omma.metrics.report import MetricReport
from omma.structures import DataInfo, Prediction, Target


class Metric(ABC):
    """Collects one record per image and turns them into numbers.

    Records are kept by the image's position in the data set. Gathering them from many processes is a
    merge of dictionaries, and an image that was seen twice counts once.
    """

    def __init__(self) -> None:
        self.info = DataInfo(classes=())
        self.records: dict[int, Any] = {}

    def start(self, info: DataInfo) -> None:
        """Forget all records; ``info`` names the classes that are about to be evaluated."""
        self.info = info
        self.records = {}

    def update(self, predictions: Sequence[Prediction], targets: Sequence[Target]) -> None:
        """Add a batch: what was predicted for each image and what is there."""
        for prediction, target in zip(predictions, targets, strict=True):
            self.records[target["index"]] = self.record(prediction, target)

    @abstractmethod
    def record(self, prediction: Prediction, target: Target) -> Any:
        """What must be kept of one image: small, on the CPU, picklable."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """The numbers over all records, by name (``box/AP50``). NaN where nothing could be measured."""

    def report(self) -> MetricReport:
        """Tables, curves and rankings for the run's report; empty by default."""
        return MetricReport()


def mean_of_known(values: np.ndarray) -> float:
    """The mean of the numbers that aren't NaN, which could not be measured; NaN of none."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else math.nan
