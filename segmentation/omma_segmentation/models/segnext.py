"""SegNeXt (Guo et al., 2022), with the Hamburger of Geng et al. (Is Attention Better Than Matrix
Decomposition?, 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind
from omma.ops.precision import at_least_float32
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class LightHamHead(FeatureHead):
    """Maps joined at the size of the finest, narrowed, and approximated by a few non-negative bases.

    Args:
        in_channels: of the maps, fine to coarse.
        in_index: which maps.
        channels: width of what is classified.
        inner_channels: width of what is approximated.
        num_classes: C.
        loss: on the logits.
        bases: how many.
        steps: of the approximation in training.
        eval_steps: of the approximation in prediction.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how maps and logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        in_index: tuple[int, ...] = (1, 2, 3),
        channels: int = 256,
        inner_channels: int = 256,
        num_classes: int,
        loss: PixelLosses,
        bases: int = 16,
        steps: int = 6,
        eval_steps: int = 7,
        norm: NormKind = "gn",
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            channels=channels,
            num_classes=num_classes,
            loss=loss,
            dropout=dropout,
            align_corners=align_corners,
        )
        self.squeeze = ConvNormAct(sum(in_channels), inner_channels, 1, norm=norm)
        self.hamburger = Hamburger(inner_channels, bases=bases, steps=steps, eval_steps=eval_steps, norm=norm)
        self.align = ConvNormAct(inner_channels, channels, 1, norm=norm)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W) of the finest one's size."""
        return self.align(self.hamburger(self.squeeze(self.joined(maps))))


class Hamburger(nn.Module):
    """A factorisation between two 1x1 convolutions, beside a shortcut.

    Args:
        channels: C.
        bases: how many.
        steps: of the factorisation in training.
        eval_steps: of the factorisation in prediction.
        norm: kind of the norm.
    """

    def __init__(self, channels: int, *, bases: int, steps: int, eval_steps: int, norm: NormKind) -> None:
        super().__init__()
        self.ham_in = ConvNormAct(channels, channels, 1)
        self.ham = NonNegativeFactors(channels, bases=bases, steps=steps, eval_steps=eval_steps)
        self.ham_out = ConvNormAct(channels, channels, 1, norm=norm, act=None)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return (x + self.ham_out(self.ham(self.ham_in(x)))).relu()


class NonNegativeFactors(nn.Module):
    """Rebuilds a map of values above zero as mixtures of bases (Lee and Seung, 1999), found for each image.

    Training draws the bases that it starts from anew each time; prediction starts from the same always, so
    that an image has one result.

    Args:
        channels: C.
        bases: K.
        steps: multiplicative updates in training.
        eval_steps: and in prediction.
    """

    start: Tensor

    def __init__(self, channels: int, *, bases: int, steps: int, eval_steps: int) -> None:
        super().__init__()
        self.steps, self.eval_steps = steps, eval_steps
        start = torch.rand(1, channels, bases, generator=torch.Generator().manual_seed(0))
        self.register_buffer("start", start, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        with torch.autocast(x.device.type, enabled=False):
            pixels = at_least_float32(x).flatten(2)  # (N, C, P)
            bases, share = self._factors(pixels)
            return (bases @ share.transpose(1, 2)).view(x.shape).to(x.dtype)

    def _factors(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Bases (N, C, K) and the share (N, P, K) of each in every pixel."""
        shape = (len(pixels), *self.start.shape[1:])
        drawn = torch.rand(shape, dtype=pixels.dtype, device=pixels.device) if self.training else None
        bases = F.normalize(self.start.to(pixels).expand(shape) if drawn is None else drawn, dim=1)
        share = (pixels.transpose(1, 2) @ bases).softmax(dim=2)
        for _ in range(self.steps if self.training else self.eval_steps):
            share = _updated(share, bases, pixels.transpose(1, 2))
            bases = _updated(bases, share, pixels)
        return bases, _updated(share, bases, pixels.transpose(1, 2))


def _updated(factor: Tensor, other: Tensor, product: Tensor) -> Tensor:
    """``factor`` (N, A, K) such that with ``other`` (N, B, K) it comes nearer to ``product`` (N, A, B)."""
    return factor * (product @ other) / (factor @ (other.transpose(1, 2) @ other) + 1e-6)
