"""Omma: detection, segmentation, pose and action recognition on one shared core.

Nothing heavy is imported here; the names below load their modules on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from omma.checkpoint import load_weights
    from omma.config import Config
    from omma.inference import Chain, Predictor
    from omma.registry import register
    from omma.runner import Runner

_LAZY = {
    "Chain": "omma.inference",
    "Config": "omma.config",
    "Predictor": "omma.inference",
    "Runner": "omma.runner",
    "load_weights": "omma.checkpoint",
    "register": "omma.registry",
}

__all__ = ["Chain", "Config", "Predictor", "Runner", "__version__", "load_weights", "register"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'omma' has no attribute '{name}'")
