"""The block of transformers without tokens (Yu et al., MetaFormer Is Actually What You Need, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from omma.layers.norm import NormKind, make_norm


class MapBlock(nn.Module):
    """What mixes positions, then what mixes channels, each normalised first, scaled, and added to its input.

    Parameter names are OpenMMLab's: ``norm1``, ``attn``, ``norm2``, ``mlp``, ``layer_scale_1`` and
    ``layer_scale_2``.

    Args:
        channels: of the map.
        mixer: (N, channels, H, W) to the same shape; looks at other positions.
        hidden: width between the two 1x1 convolutions.
        depthwise: have a depthwise 3x3 convolution between them too.
        norm: kind of the norms.
        layer_scale: initial factor of each channel of what is added.
        drop_path: how often what is added is left out in training, for an image as a whole.
    """

    def __init__(
        self,
        channels: int,
        *,
        mixer: nn.Module,
        hidden: int,
        depthwise: bool,
        norm: NormKind,
        layer_scale: float,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = make_norm(norm, channels)
        self.attn = mixer
        self.norm2 = make_norm(norm, channels)
        self.mlp = ConvMlp(channels, hidden, depthwise=depthwise)
        self.drop_path = StochasticDepth(drop_path, "row")
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), layer_scale))
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        x = x + self.drop_path(self.layer_scale_1[:, None, None] * self.attn(self.norm1(x)))
        return x + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x)))


class ConvMlp(nn.Module):
    """Two 1x1 convolutions, between them GELU and on wish a depthwise 3x3 one before it.

    Args:
        channels: of input and output.
        hidden: between the two.
        depthwise: have the depthwise one.
    """

    def __init__(self, channels: int, hidden: int, *, depthwise: bool) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden) if depthwise else nn.Identity()
        self.act = nn.GELU()
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) -> the same shape."""
        return self.fc2(self.act(self.dwconv(self.fc1(x))))
