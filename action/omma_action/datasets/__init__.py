"""Clips and skeletons with the classes of what is done in them."""

from omma_action.datasets.frame_folders import FrameFolders
from omma_action.datasets.msr_action3d import MSRAction3D
from omma_action.datasets.skeleton_arrays import SkeletonArrays
from omma_action.datasets.skeleton_pickle import SkeletonPickle
from omma_action.datasets.skeletons import SkeletonDataset, Track
from omma_action.datasets.videos import VideoDataset, VideoFolders

__all__ = [
    "FrameFolders",
    "MSRAction3D",
    "SkeletonArrays",
    "SkeletonDataset",
    "SkeletonPickle",
    "Track",
    "VideoDataset",
    "VideoFolders",
]
