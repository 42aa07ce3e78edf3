"""Transforms of samples that show one object each."""

from omma_pose.transforms.crop import Crop, RandomTopDownCrop, TopDownCrop, crop_matrix

__all__ = ["Crop", "RandomTopDownCrop", "TopDownCrop", "crop_matrix"]
