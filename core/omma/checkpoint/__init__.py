"""Weights of others and our own into a model, and the checkpoints of a run."""

from omma.checkpoint.readers import Weights, read_weights
from omma.checkpoint.weights import LoadReport, load_weights, save_weights

__all__ = ["LoadReport", "Weights", "load_weights", "read_weights", "save_weights"]
