"""Losses: ``loss(pred, target, weight=..., avg_factor=...)`` gives one weighted scalar."""

from omma.losses.base import Loss
from omma.losses.cross_entropy import BinaryCrossEntropyLoss, CrossEntropyLoss
from omma.losses.dice import DiceLoss
from omma.losses.distribution import DistributionFocalLoss
from omma.losses.focal import FocalLoss
from omma.losses.gaussian_focal import GaussianFocalLoss
from omma.losses.harmonized import GHMClassificationLoss, GHMRegressionLoss
from omma.losses.iou import BoundedIoULoss, GIoULoss, IoULoss
from omma.losses.quality import QualityFocalLoss, VarifocalLoss
from omma.losses.regression import BalancedL1Loss, L1Loss, MSELoss, SmoothL1Loss
from omma.losses.seesaw import SeesawLoss

__all__ = [
    "BalancedL1Loss",
    "BinaryCrossEntropyLoss",
    "BoundedIoULoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "DistributionFocalLoss",
    "FocalLoss",
    "GHMClassificationLoss",
    "GHMRegressionLoss",
    "GIoULoss",
    "GaussianFocalLoss",
    "IoULoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "QualityFocalLoss",
    "SeesawLoss",
    "SmoothL1Loss",
    "VarifocalLoss",
]
