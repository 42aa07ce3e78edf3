"""How many objects a proposal network finds, whatever their class."""

from __future__ import annotations

from typing import cast

import torch

from omma.registry import register
from omma.structures import DataInfo, Prediction, Target
from omma_detection.metrics.coco import CocoMetric
from omma_detection.metrics.coco_api import Backend
from omma_detection.metrics.records import Record


@register
class ProposalMetric(CocoMetric):
    """COCO's numbers with all classes taken as one: ``box/AR1000`` is what proposal networks are compared by.

    Args:
        max_detections: rising limits of proposals per image, one AR each.
        backend: as ``CocoMetric``.
    """

    def __init__(
        self, *, max_detections: tuple[int, ...] = (100, 300, 1000), backend: Backend = "faster"
    ) -> None:
        super().__init__(kinds=("box",), max_detections=max_detections, backend=backend)

    def start(self, info: DataInfo) -> None:
        """As every metric, with one class in place of those of ``info``."""
        super().start(DataInfo(classes=("object",)))

    def record(self, prediction: Prediction, target: Target) -> Record:
        """As ``CocoMetric``, without the labels."""
        found = {**prediction, "labels": torch.zeros_like(prediction["labels"])}
        there = {**target, "labels": torch.zeros_like(target["labels"])}
        return super().record(cast(Prediction, found), cast(Target, there))
