"""Transforms that only detection needs."""

from omma_detection.transforms.proposals import LoadProposals, save_proposals

__all__ = ["LoadProposals", "save_proposals"]
