"""Metrics of key points."""

from omma_pose.metrics.coco import CocoKeypointMetric
from omma_pose.metrics.crowdpose import CrowdPoseMetric
from omma_pose.metrics.distances import AUC, BOX, EPE, NME, PCK, PCKh, Yardstick

__all__ = ["AUC", "BOX", "EPE", "NME", "PCK", "CocoKeypointMetric", "CrowdPoseMetric", "PCKh", "Yardstick"]
