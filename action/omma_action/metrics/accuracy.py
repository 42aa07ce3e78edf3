"""How often the class of a clip is found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omma.metrics import Matrix, Metric, MetricReport, Ranking, Table
from omma.registry import register
from omma.structures import Prediction, Target

_MATRIX_CLASSES = 60
"""A confusion matrix of more classes can't be read."""
_LISTED = 100


@dataclass(frozen=True)
class Outcome:
    """What was said of one clip."""

    label: int
    """Its class; of several the best placed one."""
    place: int
    """How many classes have a better score than that: 0 is right."""
    guess: int
    """The class with the best score."""
    score: float
    """Of the guess."""
    path: str


@register
class ClipAccuracy(Metric):
    """``acc/top1``, ``acc/top5`` ...: share of clips whose class is among the k best; ``acc/mean1``: ``top1``
    of each class by itself, averaged over the classes that occur.

    Of a clip with several classes one of them must be among the best. Among equal scores the smaller label
    comes first, and a score that is no number comes last.

    Args:
        top_k: each k.
    """

    records: dict[int, Outcome]

    def __init__(self, *, top_k: tuple[int, ...] = (1, 5)) -> None:
        super().__init__()
        if not top_k or min(top_k) < 1:
            raise ValueError(f"top_k must be some numbers from 1 on, got {top_k}")
        self.top_k = tuple(top_k)

    def record(self, prediction: Prediction, target: Target) -> Outcome:
        """Where the clip's class came among all.

        Raises:
            ValueError: the clip has no class.
        """
        scores = prediction["class_scores"].double().numpy()
        order = ranking(scores)
        places = {int(label): place for place, label in enumerate(order)}
        labels = target["labels"].tolist()
        if not labels:
            raise ValueError(f"{target['path']}: has no class that could be found")
        label = min(labels, key=lambda one: places[one])
        guess = int(order[0])
        return Outcome(label, places[label], guess, float(scores[guess]), target["path"])

    def compute(self) -> dict[str, float]:
        """The shares; NaN without a clip."""
        places = np.array([outcome.place for outcome in self.records.values()])
        shares = {f"acc/top{k}": _mean(places < k) for k in self.top_k}
        confusions = self.confusions()
        there = confusions.sum(axis=1)
        right = np.diag(confusions)[there > 0] / there[there > 0]
        return {**shares, "acc/mean1": _mean(right)}

    def confusions(self) -> np.ndarray:
        """(C, C) int64 clips by their class (rows) and the guess."""
        count = len(self.info.classes)
        pairs = [outcome.label * count + outcome.guess for outcome in self.records.values()]
        return np.bincount(np.array(pairs, np.int64), minlength=count * count).reshape(count, count)

    def report(self) -> MetricReport:
        """Each class, what is taken for what, and the clips on which it is wrong most surely."""
        names, confusions = list(self.info.classes), self.confusions()
        there, found, right = confusions.sum(axis=1), confusions.sum(axis=0), np.diag(confusions)
        with np.errstate(invalid="ignore"):
            recall, precision = right / there, right / found
        rows: list[list[str | float | int]] = [
            [name, float(recall[i]), float(precision[i]), int(there[i])] for i, name in enumerate(names)
        ]
        tables = [
            Table("classes", ["class", "recall", "precision", "clips"], rows),
            self._mistakes(confusions),
        ]
        matrices = []
        if len(names) <= _MATRIX_CLASSES:
            shares = confusions / np.maximum(there[:, None], 1)
            title = "confusions, share of the true class"
            matrices.append(Matrix(title, "true", "predicted", names, names, shares.tolist()))
        wrong = [(i, outcome) for i, outcome in self.records.items() if outcome.place > 0]
        wrong.sort(key=lambda entry: -entry[1].score)
        entries = [(i, o.score, f"{names[o.label]}, taken for {names[o.guess]}") for i, o in wrong[:_LISTED]]
        return MetricReport(
            tables=tables, matrices=matrices, rankings=[Ranking("wrong most surely", entries)]
        )

    def _mistakes(self, confusions: np.ndarray) -> Table:
        """The pairs of classes that are confused most often."""
        names = self.info.classes
        wrong = confusions - np.diag(np.diag(confusions))
        order = np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]
        rows: list[list[str | float | int]] = [
            [names[i // len(names)], names[i % len(names)], int(wrong.flat[i])]
            for i in order.tolist()
            if wrong.flat[i]
        ]
        return Table("most frequent confusions", ["class", "taken for", "clips"], rows)


def ranking(scores: np.ndarray) -> np.ndarray:
    """Labels by falling score (C,); see ``ClipAccuracy`` for ties."""
    return np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
