"""Readers of key point data sets."""

from omma_pose.datasets.coco import CocoKeypoints
from omma_pose.datasets.skeletons import KNOWN, skeleton_of

__all__ = ["KNOWN", "CocoKeypoints", "skeleton_of"]
