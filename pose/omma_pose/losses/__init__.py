"""Losses of key points, beside the core's."""

from omma_pose.losses.discrete import KLDiscretLoss
from omma_pose.losses.rle import RLELoss

__all__ = ["KLDiscretLoss", "RLELoss"]
