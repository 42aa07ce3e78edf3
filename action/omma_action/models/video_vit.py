"""The ViT on clips of VideoMAE (Tong et al., Masked Autoencoders are Data-Efficient Learners, 2022)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omma.backbones.base import drop_rates, run
from omma.layers import FeedForward, SelfAttention, TokenBlock
from omma.registry import register
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.tokens import start_tokens

_EPS = 1e-6


@register
class VideoTransformer(ClipBackbone):
    """Tubes of patches as tokens at fixed positions, blocks among all of them, and their mean.

    Files of VideoMAE's authors, pre-trained or fine-tuned, are understood too.

    Args:
        frames: of a clip.
        image_size: height and width of its frames, pixels.
        patch: side of the patches, pixels.
        tube: frames of a patch.
        channels: of the tokens.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layers, as a multiple of ``channels``.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: heads don't divide the channels, or clips aren't made of whole tubes.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    pos_embed: Tensor
    added_names = ("fc_norm",)

    def __init__(
        self,
        *,
        frames: int = 16,
        image_size: tuple[int, int] = (224, 224),
        patch: int = 16,
        tube: int = 2,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.size = (frames, *image_size)
        tubes = (tube, patch, patch)
        if any(side % part for side, part in zip(self.size, tubes)):
            raise ValueError(f"clips of {self.size} frames, rows and columns aren't made of tubes of {tubes}")
        self.recompute, self.out_channels = recompute, (channels,)
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv3d(3, channels, tubes, stride=tubes)})
        count = (frames // tube) * (image_size[0] // patch) * (image_size[1] // patch)
        self.register_buffer("pos_embed", sinusoids(count, channels)[None], persistent=False)
        self.blocks = nn.ModuleList(
            TokenBlock(
                channels,
                attention=SelfAttention(channels, heads, biases="query_value"),
                mlp=FeedForward(channels, int(mlp_ratio * channels), act=nn.GELU),
                eps=_EPS,
                drop_path=rate,
            )
            for rate in drop_rates(drop_path, depth)
        )
        self.fc_norm = nn.LayerNorm(channels, eps=_EPS)
        start_tokens(self, weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, T, H, W) -> the mean token (N, C).

        Raises:
            ValueError: clips of another size.
        """
        if tuple(x.shape[2:]) != self.size:
            raise ValueError(f"this network takes clips of {self.size}, got {tuple(x.shape[2:])}")
        tokens = self.patch_embed["projection"](x).flatten(2).transpose(1, 2) + self.pos_embed
        tokens = run(self.blocks, tokens, recompute=self.recompute)
        return (self.fc_norm(tokens.mean(dim=1)),)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state as in the authors' files, as it is here, without the positions, which are computed.

        Those of the pre-training are of the ``encoder``, whose last norm is another one.
        """
        own: dict[str, Tensor] = {}
        for name, value in state.items():
            name = name.removeprefix("encoder.").replace("patch_embed.proj.", "patch_embed.projection.")
            name = re.sub(r"(\.mlp\.)fc1\.", r"\1layers.0.0.", name)
            name = re.sub(r"(\.mlp\.)fc2\.", r"\1layers.1.", name)
            if name != "pos_embed" and not name.startswith("norm."):
                own[name] = value
        return own


def sinusoids(count: int, channels: int) -> Tensor:
    """Positions (count, channels) as sines and cosines in turn (Vaswani et al., 2017).

    Channels 2 i and 2 i + 1 have the wavelength 2 pi * 10000 ** (2 i / channels).
    """
    even = torch.arange(channels, dtype=torch.float64) // 2 * 2
    angles = torch.arange(count, dtype=torch.float64)[:, None] / 10000 ** (even / channels)
    return torch.where(torch.arange(channels) % 2 == 0, angles.sin(), angles.cos()).float()
