"""Initial weights, as the papers give them."""

from __future__ import annotations

import math
from typing import Literal

from torch import nn


def init_conv(
    module: nn.Module,
    *,
    kind: Literal["normal", "kaiming", "xavier"] = "normal",
    std: float = 0.01,
    bias: float = 0.0,
) -> None:
    """Set every convolution and linear layer below ``module``.

    ``normal`` draws with deviation ``std``; ``kaiming`` is He et al.'s for ReLU over the fan-out; ``xavier``
    is Glorot and Bengio's uniform one. Biases become ``bias``.
    """
    for layer in module.modules():
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            continue
        if kind == "normal":
            nn.init.normal_(layer.weight, std=std)
        elif kind == "kaiming":
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        else:
            nn.init.xavier_uniform_(layer.weight)
        if layer.bias is not None:
            nn.init.constant_(layer.bias, bias)


def prior_bias(probability: float) -> float:
    """The bias with which a sigmoid starts at ``probability`` (Lin et al., RetinaNet, 2017)."""
    return -math.log((1 - probability) / probability)
