"""Changes of clips and skeletons that images don't know."""

from omma_action.transforms.features import SkeletonFeatures
from omma_action.transforms.frames import FillMissing, PadPersons, ResampleFrames, UniformFrames
from omma_action.transforms.heatmaps import PoseHeatmaps
from omma_action.transforms.normalize import NormalizeSkeleton2D, NormalizeSkeleton3D
from omma_action.transforms.pose_canvas import (
    CentreCropPose,
    CropToPose,
    FlipPose,
    RandomResizedCropPose,
    ResizePose,
)
from omma_action.transforms.vary import DropJoints, RotateSkeleton, ScaleSkeleton

__all__ = [
    "CentreCropPose",
    "CropToPose",
    "DropJoints",
    "FillMissing",
    "FlipPose",
    "NormalizeSkeleton2D",
    "NormalizeSkeleton3D",
    "PadPersons",
    "PoseHeatmaps",
    "RandomResizedCropPose",
    "ResampleFrames",
    "ResizePose",
    "RotateSkeleton",
    "ScaleSkeleton",
    "SkeletonFeatures",
    "UniformFrames",
]
