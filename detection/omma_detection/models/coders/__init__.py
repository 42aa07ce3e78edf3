"""Boxes as what a network regresses, and back."""

from omma_detection.models.coders.cell import boxes_to_cells, cells_to_boxes
from omma_detection.models.coders.delta import DeltaCoder
from omma_detection.models.coders.distance import (
    boxes_to_distances,
    center_quality,
    distances_to_boxes,
    expected_distances,
)
from omma_detection.models.coders.sides import SideCoder

__all__ = [
    "DeltaCoder",
    "SideCoder",
    "boxes_to_cells",
    "boxes_to_distances",
    "cells_to_boxes",
    "center_quality",
    "distances_to_boxes",
    "expected_distances",
]
