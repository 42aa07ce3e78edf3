"""Networks between backbone and head."""

from omma.necks.base import Neck
from omma.necks.fpn import FPN

__all__ = ["FPN", "Neck"]
