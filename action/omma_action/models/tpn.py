"""Temporal pyramid network (Yang et al., 2020): stages as clips at several tempos."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from omma.losses import CrossEntropyLoss
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_action.models.bricks import ConvNormAct3d
from omma_action.models.clip_neck import ClipNeck
from omma_action.models.heads.class_head import linear
from omma_action.models.heads.pooled import mean_of

_GROUPS = 32


@register
class TPN(ClipNeck):
    """Brings two or more stages to one size, slows them down, and joins a flow down with a flow up.

    Each stage has half the channels and twice the sides of the next.

    Args:
        in_channels: of the stages.
        channels: of what flows.
        out_channels: of the one map that goes out.
        tempos: frames of each stage that become one.
        num_classes: of the loss on the last but one stage.
        aux_weight: of that loss; 0: there is none.

    Raises:
        ValueError: numbers that don't fit each other.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...] = (1024, 2048),
        channels: int = 1024,
        out_channels: int = 2048,
        tempos: tuple[int, ...] = (8, 8),
        num_classes: int,
        aux_weight: float = 0.5,
    ) -> None:
        super().__init__()
        if len(in_channels) < 2 or len(tempos) != len(in_channels):
            raise ValueError(
                f"in_channels and tempos must be two or more numbers, got {in_channels} and {tempos}"
            )
        if any(b != 2 * a for a, b in pairwise(in_channels)):
            raise ValueError(f"each stage must have twice the channels of the one before, got {in_channels}")
        self.in_channels, self.out_channels = tuple(in_channels), (out_channels,)
        stages = len(in_channels)
        self.spatial_modulation = SpatialModulation(self.in_channels)
        self.temporal_modulation_ops = nn.ModuleList(
            TemporalModulation(in_channels[-1], channels, tempo) for tempo in tempos
        )
        steps = [
            ConvNormAct3d(channels, channels, (3, 1, 1), bias=False, act=None) for _ in range(stages - 1)
        ]
        self.downsample_ops = nn.ModuleList(Resampling(step) for step in steps)
        self.level_fusion_1 = LevelFusion(channels, stages, out_channels)
        self.level_fusion_2 = LevelFusion(channels, stages, out_channels)
        self.pyramid_fusion = ConvNormAct3d(2 * out_channels, out_channels, norm="bn")
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                nn.init.xavier_uniform_(layer.weight)
        self.aux_head = AuxHead(in_channels[-2], num_classes, aux_weight) if aux_weight > 0 else None

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(B, C_i, T, H_i, W_i) -> one (B, out_channels, T', H', W')."""
        slow = [op(x) for op, x in zip(self.temporal_modulation_ops, self.spatial_modulation(maps))]
        flow = list(slow)
        for i in range(len(flow) - 1, 0, -1):
            flow[i - 1] = flow[i - 1] + flow[i]
        down = self.level_fusion_1(flow)
        for i, op in enumerate(self.downsample_ops):
            flow[i + 1] = flow[i + 1] + op(flow[i])
        return (self.pyramid_fusion(torch.cat([down, self.level_fusion_2(flow)], dim=1)),)

    def loss(self, maps: Sequence[Tensor], targets: Tensor) -> dict[str, Tensor]:
        """``loss_aux`` of the last but one stage."""
        return {} if self.aux_head is None else {"loss_aux": self.aux_head.loss(maps[-2], targets)}


class SpatialModulation(nn.Module):
    """Strided convolutions that bring each stage to the channels and sides of the last."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        last = len(channels) - 1
        self.spatial_modulation = nn.ModuleList(
            nn.Sequential(*(_halving(width * 2**k) for k in range(last - i)))
            for i, width in enumerate(channels)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps at the size of the last."""
        return [op(x) for op, x in zip(self.spatial_modulation, maps)]


class TemporalModulation(nn.Module):
    """A convolution over time, then each so many frames become one by their maximum."""

    def __init__(self, in_channels: int, channels: int, tempo: int) -> None:
        super().__init__()
        self.conv = ConvNormAct3d(in_channels, channels, (3, 1, 1), groups=_GROUPS, bias=False, act=None)
        self.pool = nn.MaxPool3d((tempo, 1, 1), ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T / tempo, H, W)."""
        return self.pool(self.conv(x))


class Resampling(nn.Module):
    """A convolution between two levels."""

    def __init__(self, conv: ConvNormAct3d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, C', T, H, W)."""
        return self.conv(x)


class LevelFusion(nn.Module):
    """All levels of a flow as one map."""

    def __init__(self, channels: int, levels: int, out_channels: int) -> None:
        super().__init__()
        self.downsamples = nn.ModuleList(
            Resampling(ConvNormAct3d(channels, channels, groups=_GROUPS, norm="bn")) for _ in range(levels)
        )
        self.fusion_conv = ConvNormAct3d(levels * channels, out_channels, norm="bn")

    def forward(self, flow: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, T, H, W) each -> (B, out_channels, T, H, W)."""
        return self.fusion_conv(torch.cat([op(x) for op, x in zip(self.downsamples, flow)], dim=1))


class AuxHead(nn.Module):
    """Classifies the last but one stage, so that it learns more."""

    def __init__(self, channels: int, num_classes: int, weight: float) -> None:
        super().__init__()
        self.conv = _halving(channels)
        nn.init.xavier_uniform_(self.conv.conv.get_parameter("weight"))
        self.dropout = nn.Dropout(0.5)
        self.fc = linear(2 * channels, num_classes, std=0.01)
        self.loss_cls = CrossEntropyLoss(loss_weight=weight)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {"fc.weight": ClassRows(), "fc.bias": ClassRows()}

    def loss(self, x: Tensor, targets: Tensor) -> Tensor:
        """Of a map (B, C, T, H, W) and the share of each class (B, classes)."""
        return self.loss_cls(self.fc(self.dropout(mean_of(self.conv(x)))), targets)


def _halving(channels: int) -> ConvNormAct3d:
    """Half the sides and twice the channels."""
    return ConvNormAct3d(channels, 2 * channels, (1, 3, 3), stride=(1, 2, 2), norm="bn")
