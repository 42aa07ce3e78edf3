"""Which of the assigned priors enter the loss."""

from omma_detection.models.samplers.random import RandomBoxSampler, Sampled

__all__ = ["RandomBoxSampler", "Sampled"]
