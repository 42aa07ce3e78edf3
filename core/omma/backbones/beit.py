"""BEiT (Bao et al., BERT Pre-Training of Image Transformers, 2021), and MAE's encoder as it is fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import check_stages, drop_rates
from omma.backbones.vit import PlainTransformer
from omma.layers import Biases, EncoderBlock, SelfAttention
from omma.registry import register


@register
class BEiT(PlainTransformer):
    """A vision transformer whose attention knows where tokens lie to each other.

    MAE's (He et al., Masked Autoencoders Are Scalable Vision Learners, 2021) is the one with
    ``positions: true``, ``biases: all`` and ``layer_scale: 1``. Files of the authors are understood too.

    Args:
        image_size: height and width that the learnt positions are for, pixels; others interpolate them.
        patch: side of the patches, pixels.
        channels: of the tokens.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layers, as a multiple of ``channels``.
        positions: tokens have learnt positions of their own, too.
        biases: of queries, keys and values.
        layer_scale: initial factor of each channel of what a block adds.
        out_indices: blocks to return the tokens of, 0 is the first.
        final_norm: norm behind the last block.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        frozen_stages: -1 trains all; 0 freezes patches and positions; k freezes them and k blocks.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    index: Tensor

    def __init__(
        self,
        *,
        image_size: tuple[int, int] = (224, 224),
        patch: int = 16,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        positions: bool = False,
        biases: Biases = "query_value",
        layer_scale: float = 0.1,
        out_indices: tuple[int, ...] = (11,),
        final_norm: bool = False,
        drop_path: float = 0.0,
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages(out_indices, range(depth), frozen_stages, depth)
        self.embed(
            image_size=image_size,
            patch=patch,
            patch_padding=0,
            patch_bias=True,
            channels=channels,
            class_token="used",
            positions=positions,
            interpolation="bicubic",
            dropout=0.0,
        )
        self.register_buffer("index", relative_index(self.grid), persistent=False)
        self.layers = nn.ModuleList(
            EncoderBlock(
                channels,
                attention=RelativeAttention(channels, heads, self.grid, biases),
                hidden=int(mlp_ratio * channels),
                drop_path=rate,
                layer_scale=layer_scale,
            )
            for rate in drop_rates(drop_path, depth)[: max(out_indices) + 1]
        )
        if not positions:
            for block in self.layers:
                nn.init.trunc_normal_(block.get_parameter("attn.relative_position_bias_table"), std=0.02)
        self.finish(
            depth=depth,
            channels=channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            final_norm=final_norm,
            eps=1e-6,
            return_class_token=False,
            recompute=recompute,
            weights=weights,
        )

    def context(self, grid: tuple[int, int]) -> tuple[Tensor, ...]:
        """The relation of each token to each, (T, T), and the patches along each side, (2,)."""
        if grid == self.grid:
            return (self.index,)
        return (relative_index(grid).to(self.index.device), torch.tensor(grid))

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See ``PlainTransformer.own_state``; tables of relative positions are interpolated, too."""
        own = super().own_state(state)
        wanted = (2 * self.grid[0] - 1) * (2 * self.grid[1] - 1) + 3
        for name, value in own.items():
            if not name.endswith("relative_position_bias_table") or len(value) == wanted:
                continue
            side = math.isqrt(len(value) - 3)
            if side**2 == len(value) - 3:
                old = ((side + 1) // 2, (side + 1) // 2)
                own[name] = resize_table(value, old, self.grid)
        return own


class RelativeAttention(SelfAttention):
    """Attention with a learnt bias for each relative position, and three for the class token."""

    def __init__(self, channels: int, heads: int, grid: tuple[int, int], biases: Biases) -> None:
        super().__init__(channels, heads, biases=biases)
        self.grid = grid
        count = (2 * grid[0] - 1) * (2 * grid[1] - 1) + 3
        self.relative_position_bias_table = nn.Parameter(torch.zeros(count, heads))

    def bias(self, *context: Tensor) -> Tensor:
        """Of relations (T, T) and, for a map of other than the usual size, the patches of its sides (2,)."""
        table, index = self.relative_position_bias_table, context[0]
        if len(context) > 1:
            height, width = context[1].tolist()
            table = resize_table(table, self.grid, (height, width))
        return table[index.flatten()].unflatten(0, index.shape).permute(2, 0, 1)[None]


def relative_index(grid: tuple[int, int]) -> Tensor:
    """The row of the table for each pair of tokens, (1 + h w, 1 + h w); the class token is the first.

    Rows run over the vertical, then the horizontal distance from query to key; the last three are those of
    the class token to a patch, of a patch to the class token, and of it to itself.
    """
    height, width = grid
    cells = torch.cartesian_prod(torch.arange(height), torch.arange(width))
    offset = cells[:, None] - cells[None] + torch.tensor([height - 1, width - 1])  # (h w, h w, 2)
    index = F.pad(offset[..., 0] * (2 * width - 1) + offset[..., 1], (1, 0, 1, 0))
    last = (2 * height - 1) * (2 * width - 1) + 2
    index[0], index[:, 0], index[0, 0] = last - 2, last - 1, last
    return index


def resize_table(table: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """A table of relative positions (R, heads) of a grid for another grid."""
    body = table[:-3].T.unflatten(1, (2 * old[0] - 1, 2 * old[1] - 1))[None]
    size = (2 * new[0] - 1, 2 * new[1] - 1)
    body = F.interpolate(body, size=size, mode="bicubic", align_corners=False)
    return torch.cat([body[0].flatten(1).T, table[-3:]])
