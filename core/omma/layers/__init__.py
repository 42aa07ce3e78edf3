"""Small modules that models of every task are made of."""

from omma.layers.carafe import Carafe
from omma.layers.context_block import ContextBlock
from omma.layers.conv import ConvNormAct, DeformVersion
from omma.layers.criss_cross import CrissCrossAttention
from omma.layers.deform_attention import MultiScaleDeformableAttention
from omma.layers.deform_conv import DeformConv2d, GuidedDeformConv2d, ModulatedDeformConv2d
from omma.layers.init import init_conv, prior_bias
from omma.layers.masked_conv import MaskedConv2d
from omma.layers.norm import LayerNorm2d, NormForm, NormKind, make_norm, norm_name
from omma.layers.scale import Scale
from omma.layers.switchable_conv import ConvAWS2d, SAConv2d
from omma.layers.sync_bn import SyncBatchNorm, synchronize_batch_norms

__all__ = [
    "Carafe",
    "ContextBlock",
    "ConvAWS2d",
    "ConvNormAct",
    "CrissCrossAttention",
    "DeformConv2d",
    "DeformVersion",
    "GuidedDeformConv2d",
    "LayerNorm2d",
    "MaskedConv2d",
    "ModulatedDeformConv2d",
    "MultiScaleDeformableAttention",
    "NormForm",
    "NormKind",
    "SAConv2d",
    "Scale",
    "SyncBatchNorm",
    "init_conv",
    "make_norm",
    "norm_name",
    "prior_bias",
    "synchronize_batch_norms",
]
