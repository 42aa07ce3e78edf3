"""Networks between backbone and head."""

from omma.necks.base import Neck, channels_behind
from omma.necks.bfp import BFP
from omma.necks.csp_pafpn import YOLOXPAFPN, CSPNeXtPAFPN
from omma.necks.deconv import DeconvNeck
from omma.necks.dilated_encoder import DilatedEncoder
from omma.necks.dyhead import DyHead
from omma.necks.fpn import FPN
from omma.necks.fpn_carafe import FPNCarafe
from omma.necks.hrfpn import HRFPN
from omma.necks.multilevel import Feature2Pyramid, MLANeck, MultiLevelNeck
from omma.necks.nas_fcos_fpn import NASFCOSFPN
from omma.necks.nasfpn import NASFPN
from omma.necks.pafpn import PAFPN
from omma.necks.sequence import NeckSequence
from omma.necks.ssd import SSDNeck
from omma.necks.upscale import Upscale
from omma.necks.yolov3 import YOLOV3Neck

__all__ = [
    "BFP",
    "FPN",
    "HRFPN",
    "NASFCOSFPN",
    "NASFPN",
    "PAFPN",
    "YOLOXPAFPN",
    "CSPNeXtPAFPN",
    "DeconvNeck",
    "DilatedEncoder",
    "DyHead",
    "FPNCarafe",
    "Feature2Pyramid",
    "MLANeck",
    "MultiLevelNeck",
    "Neck",
    "NeckSequence",
    "SSDNeck",
    "Upscale",
    "YOLOV3Neck",
    "channels_behind",
]
