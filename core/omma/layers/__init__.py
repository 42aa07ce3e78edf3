"""Small modules that models of every task are made of."""

from omma.layers.context_block import ContextBlock
from omma.layers.conv import ConvNormAct
from omma.layers.deform_conv import DeformConv2d, ModulatedDeformConv2d
from omma.layers.init import init_conv, prior_bias
from omma.layers.norm import NormKind, make_norm, norm_name
from omma.layers.scale import Scale

__all__ = [
    "ContextBlock",
    "ConvNormAct",
    "DeformConv2d",
    "ModulatedDeformConv2d",
    "NormKind",
    "Scale",
    "init_conv",
    "make_norm",
    "norm_name",
    "prior_bias",
]
