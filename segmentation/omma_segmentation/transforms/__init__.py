"""Transforms that only semantic maps need."""

from omma_segmentation.transforms.crop import SemanticCrop

__all__ = ["SemanticCrop"]
