"""The block of transformers whose parts go by timm's names (Dosovitskiy et al., ViT, 2020)."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import StochasticDepth


class TokenBlock(nn.Module):
    """Attention and a feed-forward layer, each normalised first and added to its input.

    The names are ``norm1``, ``attn``, ``norm2`` and ``mlp``; ``EncoderBlock`` has those of mmpretrain.

    Args:
        channels: C.
        attention: (N, ..., C) to the same shape.
        mlp: likewise.
        eps: of the norms.
        drop_path: how often what is added is left out in training, for a sample as a whole.
    """

    def __init__(
        self,
        channels: int,
        *,
        attention: nn.Module,
        mlp: nn.Module,
        eps: float = 1e-5,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(channels, eps=eps)
        self.mlp = mlp
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, ..., C) -> the same shape."""
        x = x + self.drop_path(self.attend(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))

    def attend(self, x: Tensor) -> Tensor:
        """What the attention adds to the normalised (N, ..., C)."""
        return self.attn(x)
