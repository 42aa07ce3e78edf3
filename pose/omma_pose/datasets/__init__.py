"""Readers of key point data sets."""

from omma_pose.datasets.coco import CocoKeypoints
from omma_pose.datasets.crowdpose import CrowdPose
from omma_pose.datasets.leeds import LeedsSports
from omma_pose.datasets.mpii import Mpii
from omma_pose.datasets.skeletons import KNOWN, skeleton_of
from omma_pose.datasets.wholebody import CocoWholeBody

__all__ = ["KNOWN", "CocoKeypoints", "CocoWholeBody", "CrowdPose", "LeedsSports", "Mpii", "skeleton_of"]
