"""What looks on: progress, logs, reports."""

from omma.hooks.base import Hook

__all__ = ["Hook"]
