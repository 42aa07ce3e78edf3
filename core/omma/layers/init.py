"""Initial weights, as the papers give them."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn

from omma.layers.deform_conv import DeformConv2d, GuidedDeformConv2d


def init_conv(
    module: nn.Module,
    *,
    kind: Literal["normal", "kaiming", "xavier"] = "normal",
    std: float = 0.01,
    bias: float = 0.0,
) -> None:
    """Set every convolution and linear layer below ``module``; the offsets of deformable ones start at zero.

    ``normal`` draws with deviation ``std``; ``kaiming`` is He et al.'s for ReLU over the fan-out; ``xavier``
    is Glorot and Bengio's uniform one. Biases become ``bias``.
    """
    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, DeformConv2d, GuidedDeformConv2d)
    layers = [layer for layer in module.modules() if isinstance(layer, kinds)]
    for layer in layers:
        if kind == "normal":
            nn.init.normal_(layer.weight, std=std)
        elif kind == "kaiming":
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        else:
            nn.init.xavier_uniform_(layer.weight)
        if isinstance(layer_bias := getattr(layer, "bias", None), nn.Parameter):
            nn.init.constant_(layer_bias, bias)
    for layer in layers:
        if isinstance(layer, DeformConv2d):
            for value in layer.conv_offset.parameters():
                nn.init.zeros_(value)


def prior_bias(probability: float) -> float:
    """The bias with which a sigmoid starts at ``probability`` (Lin et al., RetinaNet, 2017)."""
    return -math.log((1 - probability) / probability)
