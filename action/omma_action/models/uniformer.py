"""UniFormer (Li et al., Unified Transformer for Efficient Spatiotemporal Representation Learning, 2022)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from omma.backbones.base import drop_rates, run
from omma.layers import Mlp, SelfAttention, TokenBlock
from omma.registry import register
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.inflate import centred
from omma_action.models.tokens import start_tokens


@register
class UniFormer(ClipBackbone):
    """Two stages that look around by depthwise convolutions, then two in which all positions see each other.

    Weights of a UniFormer for images are inflated: their kernels see the middle frame.

    Args:
        depths: blocks of each stage.
        channels: of each stage.
        head_channels: of each attention head.
        mlp_ratio: hidden width of the feed-forward layers, as a multiple of the stage's.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: heads don't divide the channels.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depths: tuple[int, int, int, int] = (3, 4, 8, 3),
        channels: tuple[int, int, int, int] = (64, 128, 320, 512),
        head_channels: int = 64,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if any(width % head_channels for width in channels[2:]):
            raise ValueError(f"channels {channels[2:]} must be divisible by head_channels {head_channels}")
        self.recompute, self.out_channels = recompute, (channels[-1],)
        rates = iter(drop_rates(drop_path, sum(depths)))
        before = 3
        for i, (depth, width) in enumerate(zip(depths, channels), start=1):
            hidden = int(width * mlp_ratio)
            self.add_module(f"patch_embed{i}", PatchEmbed(before, width, frames=3 if i == 1 else 1))
            blocks = (
                LocalBlock(width, hidden, next(rates))
                if i <= 2
                else GlobalBlock(width, width // head_channels, hidden, next(rates))
                for _ in range(depth)
            )
            self.add_module(f"blocks{i}", nn.Sequential(*blocks))
            before = width
        self.norm = nn.BatchNorm3d(before)
        start_tokens(self, weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, T, H, W) -> one map (N, C, T / 2, H / 32, W / 32)."""
        for i in range(1, 5):
            x = self.get_submodule(f"patch_embed{i}")(x)
            x = run(self.get_submodule(f"blocks{i}").children(), x, recompute=self.recompute)
        return (self.norm(x),)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state of the authors' network for images, inflated; one for clips as it is."""
        mine, out = self.state_dict(), {}
        for name, value in state.items():
            flat = value.ndim == 4 and name in mine and mine[name].ndim == 5
            out[name] = centred(value, mine[name].shape[2]) if flat else value
        return out


class PatchEmbed(nn.Module):
    """Patches of 4 x 4 pixels (the first one, of 3 frames at every second) or 2 x 2, as vectors."""

    def __init__(self, in_channels: int, channels: int, *, frames: int) -> None:
        super().__init__()
        side = 4 if frames > 1 else 2
        self.norm = nn.LayerNorm(channels)
        self.proj = nn.Conv3d(
            in_channels,
            channels,
            (frames, side, side),
            stride=(2 if frames > 1 else 1, side, side),
            padding=(frames // 2, 0, 0),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C', T', H / side, W / side)."""
        return self.norm(self.proj(x).movedim(1, -1)).movedim(-1, 1).contiguous()


class LocalBlock(nn.Module):
    """Positions, what lies around, and two 1x1x1 convolutions: each added to its input."""

    def __init__(self, channels: int, hidden: int, drop_path: float) -> None:
        super().__init__()
        self.pos_embed = nn.Conv3d(channels, channels, 3, padding=1, groups=channels)
        self.norm1 = nn.BatchNorm3d(channels)
        self.conv1 = nn.Conv3d(channels, channels, 1)
        self.conv2 = nn.Conv3d(channels, channels, 1)
        self.attn = nn.Conv3d(channels, channels, 5, padding=2, groups=channels)
        self.norm2 = nn.BatchNorm3d(channels)
        self.mlp = ConvMlp(channels, hidden)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        x = x + self.pos_embed(x)
        x = x + self.drop_path(self.conv2(self.attn(self.conv1(self.norm1(x)))))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class ConvMlp(nn.Module):
    """Two 1x1x1 convolutions with GELU between."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv3d(channels, hidden, 1)
        self.act = nn.GELU()
        self.fc2 = nn.Conv3d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        return self.fc2(self.act(self.fc1(x)))


class GlobalBlock(TokenBlock):
    """Positions by a depthwise convolution, then a transformer's block on all frames."""

    def __init__(self, channels: int, heads: int, hidden: int, drop_path: float) -> None:
        super().__init__(
            channels,
            attention=SelfAttention(channels, heads),
            mlp=Mlp(channels, hidden),
            drop_path=drop_path,
        )
        self.pos_embed = nn.Conv3d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        x = x + self.pos_embed(x)
        tokens = super().forward(x.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])
