"""Which of the assigned priors enter the loss."""

from omma_detection.models.samplers.balanced import (
    CombinedBoxSampler,
    InstanceBalancedDraw,
    IoUBalancedDraw,
)
from omma_detection.models.samplers.base import BoxSampler, Draw, Sampled
from omma_detection.models.samplers.hard import HardestDraw, OHEMSampler
from omma_detection.models.samplers.random import RandomBoxSampler, RandomDraw

__all__ = [
    "BoxSampler",
    "CombinedBoxSampler",
    "Draw",
    "HardestDraw",
    "InstanceBalancedDraw",
    "IoUBalancedDraw",
    "OHEMSampler",
    "RandomBoxSampler",
    "RandomDraw",
    "Sampled",
]
