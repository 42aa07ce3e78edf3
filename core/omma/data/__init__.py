"""Samples: read, transformed, ordered, batched."""

from omma.data.annotations import Annotations, Report
from omma.data.collate import collate
from omma.data.dataset import ConcatDataset, Dataset, RepeatDataset, Subset
from omma.data.images import image_size, read_image

__all__ = [
    "Annotations",
    "ConcatDataset",
    "Dataset",
    "RepeatDataset",
    "Report",
    "Subset",
    "collate",
    "image_size",
    "read_image",
]
