"""The training loop and evaluation."""

from omma.runner.settings import Train

__all__ = ["Train"]
