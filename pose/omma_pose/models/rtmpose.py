"""RTMPose (Jiang et al., RTMPose: Real-Time Multi-Person Pose Estimation based on MMPose, 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.losses import Loss
from omma.registry import register
from omma_pose.codecs import SimCCLabel
from omma_pose.models.simcc import LineHead


@register
class RTMCCHead(LineHead):
    """A large convolution to one map for each key point, a gated attention unit over them, and the bins.

    Args:
        num_keypoints: K.
        in_channels: channels of the map that the head takes.
        in_index: which map that is.
        stride: of that map, pixels of the input.
        codec: between key points and bins.
        loss: of bins.
        final_kernel: side of the convolution, odd.
        hidden: width of a key point's token.
        query: width of queries and keys.
        expand: width of values over that of tokens.

    Raises:
        ValueError: ``final_kernel`` is even.
    """

    def __init__(
        self,
        *,
        num_keypoints: int,
        in_channels: int,
        in_index: int = -1,
        stride: int = 32,
        codec: SimCCLabel,
        loss: Loss,
        final_kernel: int = 7,
        hidden: int = 256,
        query: int = 128,
        expand: int = 2,
    ) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, in_index=in_index, codec=codec)
        if final_kernel % 2 == 0:
            raise ValueError(f"final_kernel must be odd, got {final_kernel}")
        self.loss_module = loss
        self.final_layer = nn.Conv2d(in_channels, num_keypoints, final_kernel, padding=final_kernel // 2)
        nn.init.normal_(self.final_layer.weight, std=0.001)
        width, height = codec.input_size
        pixels = (width // stride) * (height // stride)
        self.mlp = nn.Sequential(ScaleNorm(pixels), nn.Linear(pixels, hidden, bias=False))
        self.gau = GatedAttentionUnit(hidden, query=query, expand=expand)
        self.cls_x = nn.Linear(hidden, codec.bins[0], bias=False)
        self.cls_y = nn.Linear(hidden, codec.bins[1], bias=False)
        for layer in (self.mlp[1], self.gau.o, self.gau.uv, self.cls_x, self.cls_y):
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of the bins of x and y, (N, K, bins) each."""
        tokens = self.gau(self.mlp(self.final_layer(maps[self.in_index]).flatten(2)))
        return self.cls_x(tokens), self.cls_y(tokens)


class GatedAttentionUnit(nn.Module):
    """Attention whose output is gated (Hua et al., Transformer Quality in Linear Time, 2022).

    Scores are squares of what is positive, not a softmax: (N, K, C) to (N, K, C).

    Args:
        channels: C.
        query: width of queries and keys.
        expand: width of values, as a multiple of C.
    """

    def __init__(self, channels: int, *, query: int, expand: int) -> None:
        super().__init__()
        self.query, self.wide = query, channels * expand
        self.ln = ScaleNorm(channels)
        self.uv = nn.Linear(channels, 2 * self.wide + query, bias=False)
        self.gamma = nn.Parameter(torch.rand(2, query))
        self.beta = nn.Parameter(torch.rand(2, query))
        self.o = nn.Linear(self.wide, channels, bias=False)
        self.res_scale = ChannelScale(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, K, C) -> the same shape."""
        gate, values, base = nn.functional.silu(self.uv(self.ln(x))).split(
            [self.wide, self.wide, self.query], dim=-1
        )
        queries, keys = (base[:, :, None] * self.gamma + self.beta).unbind(dim=2)
        scores = (queries @ keys.mT / math.sqrt(self.query)).relu().square()
        return self.res_scale(x) + self.o(gate * (scores @ values))


class ScaleNorm(nn.Module):
    """Divides tokens by their root mean square, times one learned number (Nguyen and Salazar, 2019).

    Args:
        channels: C.
        eps: least root mean square that is divided by.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale, self.eps = channels**-0.5, eps
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> the same shape."""
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * self.scale
        return x / norm.clamp(min=self.eps) * self.g


class ChannelScale(nn.Module):
    """One learned factor for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> the same shape."""
        return x * self.scale
