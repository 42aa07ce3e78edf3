"""ERFNet (Romera et al., Efficient Residual Factorized ConvNet for Real-Time Semantic Segmentation, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import NormForm, NormKind, init_conv, make_norm, resize
from omma.registry import register

NORM = NormForm(eps=1e-3)


@register
class ERFNet(Backbone):
    """An encoder down to stride 8 and a decoder back to 2, of convolutions that are 3x1 and 1x3 in turn.

    Args:
        channels: of the encoder's three stages.
        blocks: of its second and third stage.
        dilations: of the third stage's blocks, in turn.
        decoder_channels: of the decoder's two stages.
        decoder_blocks: of each.
        dropout: share of the values that the encoder's blocks drop in training.
        norm: kind of the norms.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, int, int] = (16, 64, 128),
        blocks: tuple[int, int] = (5, 8),
        dilations: tuple[int, ...] = (2, 4, 8, 16),
        decoder_channels: tuple[int, int] = (64, 16),
        decoder_blocks: tuple[int, int] = (2, 2),
        dropout: float = 0.1,
        norm: NormKind = NORM,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.out_channels, self.strides = decoder_channels[-1:], (2,)
        first, middle, last = channels
        plain = (FactorizedBlock(middle, dropout=dropout, norm=norm) for _ in range(blocks[0]))
        dilated = (
            FactorizedBlock(last, dilation=dilations[i % len(dilations)], dropout=dropout, norm=norm)
            for i in range(blocks[1])
        )
        self.encoder = nn.Sequential(
            Halve(3, first, norm=norm),
            Halve(first, middle, norm=norm),
            *plain,
            Halve(middle, last, norm=norm),
            *dilated,
        )
        steps: list[nn.Module] = []
        for before, width, count in zip((last, decoder_channels[0]), decoder_channels, decoder_blocks):
            steps.append(Double(before, width, norm=norm))
            steps += [FactorizedBlock(width, norm=norm) for _ in range(count)]
        self.decoder = nn.Sequential(*steps)
        init_conv(self, kind="kaiming")
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map (N, decoder_channels[-1], H / 2, W / 2)."""
        return (self.decoder(self.encoder(x)),)


class Halve(nn.Module):
    """A strided convolution beside a maximum, joined before the norm: (N, C, H, W) to (N, C', H / 2, W / 2).

    Args:
        in_channels: C.
        out_channels: C'.
        norm: kind of the norm.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.bn = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / 2, W / 2)."""
        out = self.conv(x)
        # Of an odd side the maximum leaves the last row out.
        return self.bn(torch.cat([out, resize(self.pool(x), out)], dim=1)).relu()


class FactorizedBlock(nn.Module):
    """Two pairs of a 3x1 and a 1x3 convolution beside a shortcut.

    Args:
        channels: C.
        dilation: of the second pair.
        dropout: share of values.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, *, dilation: int = 1, dropout: float = 0.0, norm: NormKind) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for d in (1, dilation):
            layers += [
                nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1)),
                nn.ReLU(),
                nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d)),
                make_norm(norm, channels),
                nn.ReLU(),
            ]
        self.convs_layers = nn.Sequential(*layers[:-1], nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return (x + self.convs_layers(x)).relu()


class Double(nn.Module):
    """A transposed convolution: (N, C, H, W) to (N, C', 2 H, 2 W).

    Args:
        in_channels: C.
        out_channels: C'.
        norm: kind of the norm.
    """

    def __init__(self, in_channels: int, out_channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1)
        self.bn = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', 2 H, 2 W)."""
        return self.bn(self.conv(x)).relu()
