"""Readers of segmentation data sets."""

from omma_segmentation.datasets.label_map import LabelMap
from omma_segmentation.datasets.mask_folder import MaskFolder

__all__ = ["LabelMap", "MaskFolder"]
