"""Squeeze and excitation (Hu et al., Squeeze-and-Excitation Networks, 2017)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers.conv import Activation, ConvNormAct


class SqueezeExcitation(nn.Module):
    """Weighs the channels of (N, C, H, W) by what they are on average.

    Args:
        channels: C.
        hidden: channels between the two layers.
        act: activation between them.
        gate: what makes weights in 0..1 of what comes out of them.
    """

    def __init__(
        self,
        channels: int,
        hidden: int,
        *,
        act: Activation = "relu",
        gate: Literal["sigmoid", "hard_sigmoid"] = "sigmoid",
    ) -> None:
        super().__init__()
        self.gate = F.sigmoid if gate == "sigmoid" else F.hardsigmoid
        self.conv1 = ConvNormAct(channels, hidden, 1, act=act)
        self.conv2 = ConvNormAct(hidden, channels, 1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x * self.gate(self.conv2(self.conv1(x.mean(dim=(2, 3), keepdim=True))))
