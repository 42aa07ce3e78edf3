"""Metrics of key points."""

from omma_pose.metrics.coco import CocoKeypointMetric
from omma_pose.metrics.distances import AUC, BOX, EPE, NME, PCK, Yardstick

__all__ = ["AUC", "BOX", "EPE", "NME", "PCK", "CocoKeypointMetric", "Yardstick"]
