"""The containers that carry images, annotations and predictions."""

from omma.structures.polygons import Polygons
from omma.structures.sample import (
    IGNORED,
    INPUT_KEYS,
    INSTANCE_KEYS,
    Batch,
    DataInfo,
    Meta,
    Prediction,
    Sample,
    Target,
)
from omma.structures.skeleton import Skeleton

__all__ = [
    "IGNORED",
    "INPUT_KEYS",
    "INSTANCE_KEYS",
    "Batch",
    "DataInfo",
    "Meta",
    "Polygons",
    "Prediction",
    "Sample",
    "Skeleton",
    "Target",
]
