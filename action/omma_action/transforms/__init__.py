"""Changes of clips and skeletons that images don't know."""

from omma_action.transforms.crops import CentreCrop, MultiScaleCrop, RandomAreaCrop, TenCrop, ThreeCrop
from omma_action.transforms.features import SkeletonFeatures
from omma_action.transforms.frames import FillMissing, PadPersons, ResampleFrames, UniformFrames
from omma_action.transforms.heatmaps import PoseHeatmaps
from omma_action.transforms.mirror_labels import MirrorLabels
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
    "CentreCrop",
    "CentreCropPose",
    "CropToPose",
    "DropJoints",
    "FillMissing",
    "FlipPose",
    "MirrorLabels",
    "MultiScaleCrop",
    "NormalizeSkeleton2D",
    "NormalizeSkeleton3D",
    "PadPersons",
    "PoseHeatmaps",
    "RandomAreaCrop",
    "RandomResizedCropPose",
    "ResampleFrames",
    "ResizePose",
    "RotateSkeleton",
    "ScaleSkeleton",
    "SkeletonFeatures",
    "TenCrop",
    "ThreeCrop",
    "UniformFrames",
]
