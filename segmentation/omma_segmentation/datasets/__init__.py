"""Readers of segmentation data sets."""

from omma_segmentation.datasets.mask_folder import LabelMap, MaskFolder

__all__ = ["LabelMap", "MaskFolder"]
