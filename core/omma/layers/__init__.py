"""Small modules that models of every task are made of."""

from omma.layers.conv import ConvNormAct
from omma.layers.init import init_conv, prior_bias
from omma.layers.norm import NormKind, make_norm, norm_name
from omma.layers.scale import Scale

__all__ = ["ConvNormAct", "NormKind", "Scale", "init_conv", "make_norm", "norm_name", "prior_bias"]
