"""Deformable attention over several maps (Zhu et al., Deformable DETR, 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.ops import ms_deform_attn


class MultiScaleDeformableAttention(nn.Module):
    """Each query attends to a few places of each map, which it chooses itself around a reference.

    Parameter names are OpenMMLab's. There is neither a shortcut nor dropout here: the layer around it adds
    them.

    Args:
        channels: of queries, values and output.
        heads: M; each looks in a direction of its own at first.
        levels: number of maps, L.
        points: places per head and map, P; at first 1, 2 ... P pixels away.
    """

    def __init__(self, *, channels: int = 256, heads: int = 8, levels: int = 4, points: int = 4) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels must be divisible by heads, got {channels} and {heads}")
        self.heads, self.levels, self.points = heads, levels, points
        self.sampling_offsets = nn.Linear(channels, heads * levels * points * 2)
        self.attention_weights = nn.Linear(channels, heads * levels * points)
        self.value_proj = nn.Linear(channels, channels)
        self.output_proj = nn.Linear(channels, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The paper's: places in a star around the reference, all with the same weight."""
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        angle = torch.arange(self.heads) * (2 * math.pi / self.heads)
        direction = torch.stack([angle.cos(), angle.sin()], -1)
        direction = direction / direction.abs().amax(-1, keepdim=True)  # on the square around the reference
        steps = torch.arange(1, self.points + 1)[:, None]
        offsets = (direction[:, None, None] * steps).expand(-1, self.levels, -1, -1)
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(offsets.flatten())
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        *,
        references: Tensor,
        sizes: Sequence[tuple[int, int]],
        padding: Tensor | None = None,
    ) -> Tensor:
        """Output of each query, (N, Q, C).

        Args:
            query: (N, Q, C), position embedding added.
            value: (N, S, C), the maps one after the other, each row by row.
            references: (N, Q, L, 2) points (x, y), offset by pixels of each map; or (N, Q, L, 4) boxes
                (cx, cy, w, h), offset by shares of half the box. All as shares of the map's size.
            sizes: height and width of each map.
            padding: (N, S), true where the value is none.
        """
        n, queries, channels = query.shape
        values = self.value_proj(value)
        if padding is not None:
            values = values.masked_fill(padding[..., None], 0.0)
        values = values.reshape(n, -1, self.heads, channels // self.heads)
        places = (n, queries, self.heads, self.levels, self.points)
        offsets = self.sampling_offsets(query).reshape(*places, 2)
        weights = self.attention_weights(query).reshape(*places[:3], -1).softmax(-1).reshape(places)
        centre = references[:, :, None, :, None, :2]
        if references.shape[-1] == 4:
            unit = references[:, :, None, :, None, 2:] * (0.5 / self.points)
        else:
            unit = 1 / centre.new_tensor([(w, h) for h, w in sizes])[:, None]
        return self.output_proj(ms_deform_attn(values, sizes, centre + offsets * unit, weights))
