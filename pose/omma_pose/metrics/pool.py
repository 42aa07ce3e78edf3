"""Annotations and predictions of all images of an evaluation, and what of them is judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from omma_pose.metrics.oks import Found, Objects, Precision, evaluate

_Rows = TypeVar("_Rows", Objects, Found)


@dataclass(frozen=True)
class Pool:
    """Objects and predictions of all classes; their images are numbered."""

    objects: Objects
    labels: np.ndarray  # (G,) of the objects
    found: Found
    found_labels: np.ndarray  # (D,) of the predictions
    sigmas: np.ndarray  # (K,)

    def precision(self, classes: int) -> list[Precision]:
        """What each class achieves."""
        return [
            evaluate(
                _rows(self.objects, self.labels == label),
                _rows(self.found, self.found_labels == label),
                self.sigmas,
            )
            for label in range(classes)
        ]

    def part(self, places: Sequence[int]) -> Pool:
        """Some of the key points alone; objects without any of these are neither right nor wrong."""
        columns = list(places)
        keypoints, labelled = self.objects.keypoints[:, columns], self.objects.labelled[:, columns]
        return replace(
            self,
            objects=replace(self.objects, keypoints=keypoints, labelled=labelled),
            found=replace(self.found, keypoints=self.found.keypoints[:, columns]),
            sigmas=self.sigmas[columns],
        )

    def of_images(self, images: np.ndarray) -> Pool:
        """Some images alone, by their numbers."""
        own, found = np.isin(self.objects.image, images), np.isin(self.found.image, images)
        return replace(
            self,
            objects=_rows(self.objects, own),
            labels=self.labels[own],
            found=_rows(self.found, found),
            found_labels=self.found_labels[found],
        )


def _rows(table: _Rows, keep: np.ndarray) -> _Rows:
    """Those of a (rows,) mask."""
    return type(table)(*(column[keep] for column in vars(table).values()))
