"""CPM (Wei et al., Convolutional Pose Machines, 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones.base import Backbone
from omma.layers import ConvNormAct, NormKind, init_conv
from omma.registry import register

IMAGE_CHANNELS = 128
"""Of the layers that look at the image."""


@register
class CPM(Backbone):
    """Stages that guess maps at stride 8, each from the guess before it and a look at the image.

    Parameter names are OpenMMLab's.

    Args:
        maps: channels of each guess: one for each thing looked for.
        stages: guesses.
        channels: of the layers of later stages.
        middle_channels: of what a later stage sees of the image.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        maps: int,
        stages: int = 6,
        channels: int = 128,
        middle_channels: int = 32,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if min(maps, stages, channels, middle_channels) < 1:
            raise ValueError("maps, stages, channels and middle_channels must be positive")
        self.norm_eval = norm_eval
        self.out_channels, self.strides = (maps,) * stages, (8,) * stages
        self.stem = nn.Sequential(
            *_look(norm),
            ConvNormAct(IMAGE_CHANNELS, 32, 5, padding=2, norm=norm),
            ConvNormAct(32, 512, 9, padding=4, norm=norm),
            ConvNormAct(512, 512, 1, norm=norm),
            ConvNormAct(512, maps, 1, act=None),
        )
        later = range(stages - 1)
        self.middle = nn.Sequential(*_look(norm)) if later else None
        self.cpm_stages = nn.ModuleList(Guess(middle_channels + maps, channels, norm) for _ in later)
        self.middle_conv = nn.ModuleList(
            nn.Sequential(ConvNormAct(IMAGE_CHANNELS, middle_channels, 5, padding=2, norm=norm))
            for _ in later
        )
        self.out_convs = nn.ModuleList(
            nn.Sequential(
                ConvNormAct(channels, channels, 1, norm=norm), ConvNormAct(channels, maps, 1, act=None)
            )
            for _ in later
        )
        init_conv(self, std=0.001)
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> the guess of each stage, (N, maps, ceil(H / 8), ceil(W / 8))."""
        guesses = [self.stem(x)]
        if self.middle is not None:
            seen = self.middle(x)
            for look, stage, out in zip(self.middle_conv, self.cpm_stages, self.out_convs):
                guesses.append(out(stage(torch.cat([guesses[-1], look(seen)], dim=1))))
        return tuple(guesses)


class Guess(nn.Module):
    """Three 11x11 convolutions: (N, C, H, W) to (N, C', H, W)."""

    def __init__(self, in_channels: int, channels: int, norm: NormKind) -> None:
        super().__init__()
        self.model = nn.Sequential(
            ConvNormAct(in_channels, channels, 11, padding=5, norm=norm),
            ConvNormAct(channels, channels, 11, padding=5, norm=norm),
            ConvNormAct(channels, channels, 11, padding=5, norm=norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        return self.model(x)


def _look(norm: NormKind) -> list[nn.Module]:
    """Layers from the image to stride 8."""
    layers: list[nn.Module] = []
    for channels in (3, IMAGE_CHANNELS, IMAGE_CHANNELS):
        layers.append(ConvNormAct(channels, IMAGE_CHANNELS, 9, padding=4, norm=norm))
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    return layers
