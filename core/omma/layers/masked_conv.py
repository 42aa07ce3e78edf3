"""A convolution that can be told where its output is needed."""

from __future__ import annotations

from torch import Tensor, nn

from omma.ops import masked_conv2d


class MaskedConv2d(nn.Conv2d):
    """A convolution of stride 1 that, given a mask, is computed only where it is true (Guided Anchoring)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, padding: int = 0) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=padding)
        self.pixels = padding

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and, true where the output is needed, (N, H', W') -> (N, C', H', W'), 0 elsewhere."""
        if mask is None:
            return super().forward(input)
        return masked_conv2d(input, mask, self.weight, self.bias, padding=self.pixels)
