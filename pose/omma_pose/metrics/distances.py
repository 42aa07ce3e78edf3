"""Metrics by the distance of each key point from where it is annotated, for samples of annotated boxes."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from omma.errors import DataError
from omma.metrics import Curves, Metric, MetricReport, Ranking, Table, mean_of_known
from omma.registry import register
from omma.structures import Prediction, Target
from omma_pose.metrics.records import Record, make_record


@dataclass(kw_only=True, frozen=True)
class Yardstick:
    """What distances are measured by: the longer side of the box, or how far two key points lie apart."""

    between: tuple[str, str] | None = None
    """Names of the two key points; null: the box."""


BOX = Yardstick()


class DistanceMetric(Metric):
    """Keeps how far each labelled key point is off.

    Args:
        yardstick: what a distance of 1 is; null: a pixel.
    """

    records: dict[int, np.ndarray]
    """(K,) distances, NaN where a key point isn't labelled or can't be measured."""

    def __init__(self, *, yardstick: Yardstick | None) -> None:
        super().__init__()
        self.yardstick = yardstick

    def record(self, prediction: Prediction, target: Target) -> np.ndarray:
        """The distances of one sample's key points.

        Raises:
            DataError: the sample shows a detector's box, of which nobody knows whose it is.
        """
        record = make_record(prediction, target)
        if record.instance is None:
            raise DataError(
                f"{record.path}: distances need samples of annotated boxes, these are of {record.boxes_of}; "
                "set the data set's boxes to null, or take this metric out"
            )
        return self._distances(record, record.instance)

    @property
    def distances(self) -> np.ndarray:
        """(N, K) of all samples."""
        return np.stack(list(self.records.values()))

    @abstractmethod
    def score(self, distances: np.ndarray) -> np.ndarray:
        """What is averaged for distances of any shape; NaN stays NaN."""

    def report(self) -> MetricReport:
        """The score of each key point, and the samples that are farthest off."""
        if not self.records or self.info.skeleton is None:
            return MetricReport()
        values = self.score(self.distances)
        rows: list[list[str | float | int]] = [
            [name, mean_of_known(values[:, k]), int((~np.isnan(values[:, k])).sum())]
            for k, name in enumerate(self.info.skeleton.names)
        ]
        (name,) = self.compute().keys()
        far = [(i, mean_of_known(distances)) for i, distances in self.records.items()]
        entries = sorted(
            ((i, off, f"{off:.3f} off") for i, off in far if not math.isnan(off)),
            key=lambda entry: -entry[1],
        )
        return MetricReport(
            tables=[Table(f"Key points, {name}", ["key point", name, "labelled"], rows)],
            rankings=[Ranking(f"Farthest off, {name}", entries[:100])],
        )

    def _distances(self, record: Record, own: int) -> np.ndarray:
        labelled = record.labelled[own]
        off = np.linalg.norm(record.keypoints[0].astype(np.float64) - record.true_keypoints[own], axis=1)
        return np.where(labelled, off / self._unit(record, own), np.nan)

    def _unit(self, record: Record, own: int) -> float:
        """Pixels of a distance of 1; NaN where it can't be told."""
        if self.yardstick is None:
            return 1.0
        if self.yardstick.between is None:
            x1, y1, x2, y2 = record.true_boxes[own].tolist()
            return max(x2 - x1, y2 - y1)
        a, b = (self._position(name) for name in self.yardstick.between)
        if not record.labelled[own, [a, b]].all():
            return math.nan
        length = float(np.linalg.norm(record.true_keypoints[own, a] - record.true_keypoints[own, b]))
        return length if length > 0 else math.nan

    def _position(self, name: str) -> int:
        names = () if self.info.skeleton is None else self.info.skeleton.names
        if name not in names:
            raise DataError(f"no key point is called '{name}'; there are {', '.join(names) or 'none'}")
        return names.index(name)


@register
class PCK(DistanceMetric):
    """Share of key points that are no farther off than ``threshold`` (Yang and Ramanan, 2013), ``PCK@0.2``.

    Args:
        threshold: in units of the yardstick.
        yardstick: what a distance of 1 is; by default the longer side of the box. Between two points of the
            head it is PCKh (Andriluka et al., MPII, 2014), of the trunk PCK of the torso.
        name: what the number is called before its threshold.

    Raises:
        ValueError: ``threshold`` isn't positive.
    """

    def __init__(self, *, threshold: float = 0.2, yardstick: Yardstick = BOX, name: str = "PCK") -> None:
        super().__init__(yardstick=yardstick)
        if threshold <= 0:
            raise ValueError(f"threshold must be positive, got {threshold}")
        self.threshold, self.name = threshold, name

    def score(self, distances: np.ndarray) -> np.ndarray:
        """1 where a key point is near enough, 0 where it isn't."""
        return np.where(np.isnan(distances), np.nan, distances <= self.threshold)

    def compute(self) -> dict[str, float]:
        """The share of all labelled key points; NaN of none."""
        value = mean_of_known(self.score(self.distances)) if self.records else math.nan
        return {f"{self.name}@{self.threshold:g}": value}


@register
class PCKh(PCK):
    """PCK by the size of the head (Andriluka et al., MPII, CVPR 2014), ``PCKh@0.5``.

    Heads have a size where the data set gives them: ``Mpii`` with ``heads``. To measure by two key points of
    the head, give ``PCK`` a yardstick.

    Args:
        threshold: in sizes of the head.
        without: key points that don't count; MPII leaves out those of the trunk.

    Raises:
        ValueError: ``threshold`` isn't positive.
    """

    def __init__(self, *, threshold: float = 0.5, without: tuple[str, ...] = ("pelvis", "thorax")) -> None:
        super().__init__(threshold=threshold, name="PCKh")
        self.without = without

    def _distances(self, record: Record, own: int) -> np.ndarray:
        distances = super()._distances(record, own)
        distances[[self._position(name) for name in self.without]] = np.nan
        return distances

    def _unit(self, record: Record, own: int) -> float:
        """The size of the head, pixels."""
        if record.head_sizes is None:
            raise DataError(
                f"{record.path}: the data set gives no sizes of heads; name MPII's file in its 'heads', or "
                "measure by two key points: {type: PCK, yardstick: {between: [...]}}"
            )
        return float(record.head_sizes[own])


@register
class AUC(DistanceMetric):
    """Area under the curve of PCK over thresholds from 0 to ``largest`` pixels, ``AUC``.

    Args:
        largest: pixels.
        steps: number of thresholds.

    Raises:
        ValueError: a number isn't positive.
    """

    def __init__(self, *, largest: float = 30.0, steps: int = 20) -> None:
        super().__init__(yardstick=None)
        if largest <= 0 or steps < 1:
            raise ValueError(f"largest and steps must be positive, got {largest} and {steps}")
        self.largest, self.steps = largest, steps

    def score(self, distances: np.ndarray) -> np.ndarray:
        """The share of thresholds that a key point stays under."""
        thresholds = self.largest * np.arange(self.steps) / self.steps
        under = (distances[..., None] < thresholds).mean(axis=-1)
        return np.where(np.isnan(distances), np.nan, under)

    def compute(self) -> dict[str, float]:
        """The mean over all labelled key points; NaN of none."""
        return {"AUC": mean_of_known(self.score(self.distances)) if self.records else math.nan}

    def report(self) -> MetricReport:
        """As for other distances, and the curve."""
        report = super().report()
        if self.records:
            thresholds = np.linspace(0, self.largest, self.steps + 1)
            off = self.distances[~np.isnan(self.distances)]
            shares = [float((off < t).mean()) if len(off) else math.nan for t in thresholds]
            line = {"all": (thresholds.tolist(), shares)}
            report.curves.append(Curves("Share of key points by distance", "pixels", "share", line))
        return report


@register
class EPE(DistanceMetric):
    """Mean distance in pixels (end-point error), ``EPE``: lower is better."""

    def __init__(self) -> None:
        super().__init__(yardstick=None)

    def score(self, distances: np.ndarray) -> np.ndarray:
        """The distances."""
        return distances

    def compute(self) -> dict[str, float]:
        """The mean over all labelled key points; NaN of none."""
        return {"EPE": mean_of_known(self.distances) if self.records else math.nan}


@register
class NME(DistanceMetric):
    """Mean distance in units of a yardstick, ``NME``: of faces, the distance between the eyes.

    Args:
        yardstick: what a distance of 1 is.
    """

    def __init__(self, *, yardstick: Yardstick = BOX) -> None:
        super().__init__(yardstick=yardstick)

    def score(self, distances: np.ndarray) -> np.ndarray:
        """The distances."""
        return distances

    def compute(self) -> dict[str, float]:
        """The mean over samples of the means over their labelled key points; NaN of none."""
        means = [mean_of_known(distances) for distances in self.records.values()]
        return {"NME": mean_of_known(np.array(means)) if means else math.nan}
