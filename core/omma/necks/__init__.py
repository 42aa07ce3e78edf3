"""Networks between backbone and head."""

from omma.necks.base import Neck
from omma.necks.fpn import FPN
from omma.necks.fpn_carafe import FPNCarafe

__all__ = ["FPN", "FPNCarafe", "Neck"]
