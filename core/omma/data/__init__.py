"""Samples: read, transformed, ordered, batched."""

from omma.data.annotations import Annotations, AnnotationsBuilder, Report
from omma.data.collate import collate
from omma.data.dataset import ConcatDataset, Dataset, RepeatDataset, Subset
from omma.data.images import image_size, read_image

__all__ = [
    "Annotations",
    "AnnotationsBuilder",
    "ConcatDataset",
    "Dataset",
    "RepeatDataset",
    "Report",
    "Subset",
    "collate",
    "image_size",
    "read_image",
]
