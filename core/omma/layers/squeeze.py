"""Squeeze and excitation (Hu et al., Squeeze-and-Excitation Networks, 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers.conv import Activation, ConvNormAct

Gate = Literal["sigmoid", "hard_sigmoid", "steep_hard_sigmoid"]


def _steep_hard_sigmoid(x: Tensor) -> Tensor:
    return ((x + 1) / 2).clamp(0, 1)


_GATES: dict[Gate, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "hard_sigmoid": F.hardsigmoid,
    "steep_hard_sigmoid": _steep_hard_sigmoid,
}


class SqueezeExcitation(nn.Module):
    """Weighs the channels of (N, C, H, W) by what they are on average.

    Args:
        channels: C.
        hidden: channels between the two layers.
        act: activation between them.
        gate: what makes weights in 0..1 of what comes out of them; the steep hard sigmoid rises from -1 to 1,
            the other one from -3 to 3.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        act: Activation = "relu",
        gate: Gate = "sigmoid",
    ) -> None:
        super().__init__()
        self.gate = _GATES[gate]
        self.conv1 = ConvNormAct(channels, hidden, 1, act=act)
        self.conv2 = ConvNormAct(hidden, channels, 1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x * self.gate(self.conv2(self.conv1(x.mean(dim=(2, 3), keepdim=True))))
