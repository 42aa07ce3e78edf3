"""Networks between backbone and head."""

from omma.necks.base import Neck
from omma.necks.dyhead import DyHead
from omma.necks.fpn import FPN
from omma.necks.fpn_carafe import FPNCarafe
from omma.necks.hrfpn import HRFPN
from omma.necks.pafpn import PAFPN
from omma.necks.sequence import NeckSequence

__all__ = ["FPN", "HRFPN", "PAFPN", "DyHead", "FPNCarafe", "Neck", "NeckSequence"]
