"""CSPDarknet (Ge et al., YOLOX, 2021) and CSPNeXt (Lyu et al., RTMDet, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones.base import Backbone, check_stages, run
from omma.layers import YOLO_NORM, ConvNormAct, CspKind, CspLayer, NormKind, SpatialPyramidPooling, yolo_conv
from omma.registry import register


class CspBackbone(Backbone):
    """A stem at stride 2 and four stages, each a convolution of stride 2 and a cross-stage partial layer."""

    def build(
        self,
        stem: nn.Module,
        *,
        stages: tuple[tuple[int, int, int, bool], ...],
        kind: CspKind,
        depthwise: bool,
        norm: NormKind,
        out_indices: tuple[int, ...],
        frozen_stages: int,
        recompute: bool,
        weights: str | None,
    ) -> None:
        """All parts, for the constructors; a stage is (channels in, out, blocks, whether blocks add)."""
        check_stages(out_indices, range(5), frozen_stages, 4)
        self.out_indices = out_indices
        self.recompute = recompute
        widths = (stages[0][0], *(out for _, out, _, _ in stages))
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple(2 ** (i + 1) for i in out_indices)
        self.stem = stem
        for i, (before, channels, blocks, shortcut) in enumerate(stages[: max(out_indices)], start=1):
            parts: list[nn.Module] = [
                yolo_conv(before, channels, 3, stride=2, depthwise=depthwise, norm=norm)
            ]
            if i == len(stages):
                parts.append(SpatialPyramidPooling(channels, norm=norm))
            parts.append(
                CspLayer(
                    channels,
                    channels,
                    blocks=blocks,
                    shortcut=shortcut,
                    kind=kind,
                    depthwise=depthwise,
                    attention=kind == "cspnext",
                    norm=norm,
                )
            )
            self.add_module(f"stage{i}", nn.Sequential(*parts))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
        frozen = ["stem", *(f"stage{i}" for i in range(1, min(frozen_stages, max(out_indices)) + 1))]
        self.start(weights, frozen=frozen if frozen_stages >= 0 else [])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x = self.stem(x)
        maps = [x] if 0 in self.out_indices else []
        for i in range(1, max(self.out_indices) + 1):
            x = run(self.get_submodule(f"stage{i}").children(), x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


@register
class CSPDarknet(CspBackbone):
    """YOLOX's backbone (its P5 form): maps 0 to 4 are at strides 2, 4, 8, 16, 32.

    Args:
        depth: factor of the number of blocks.
        width: factor of the channels.
        depthwise: separable convolutions in place of the 3x3 ones (YOLOX-nano).
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        out_indices: maps to return: 0 is the stem.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        recompute: run each part again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: float = 1.0,
        width: float = 1.0,
        depthwise: bool = False,
        norm: NormKind = YOLO_NORM,
        norm_eval: bool = False,
        out_indices: tuple[int, ...] = (2, 3, 4),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.norm_eval = norm_eval
        stages = _stages(((64, 128, 3), (128, 256, 9), (256, 512, 9), (512, 1024, 3)), depth, width)
        self.build(
            Focus(int(64 * width), norm),
            stages=stages,
            kind="darknet",
            depthwise=depthwise,
            norm=norm,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            recompute=recompute,
            weights=weights,
        )


@register
class CSPNeXt(CspBackbone):
    """RTMDet's and RTMPose's backbone (its P5 form): maps 0 to 4 are at strides 2, 4, 8, 16, 32.

    Args:
        depth: factor of the number of blocks.
        width: factor of the channels.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        out_indices: maps to return: 0 is the stem.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        recompute: run each part again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: float = 1.0,
        width: float = 1.0,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        out_indices: tuple[int, ...] = (2, 3, 4),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.norm_eval = norm_eval
        stages = _stages(((64, 128, 3), (128, 256, 6), (256, 512, 6), (512, 1024, 3)), depth, width)
        channels, half = int(64 * width), int(64 * width // 2)
        stem = nn.Sequential(
            yolo_conv(3, half, 3, stride=2, norm=norm),
            yolo_conv(half, half, 3, norm=norm),
            yolo_conv(half, channels, 3, norm=norm),
        )
        self.build(
            stem,
            stages=stages,
            kind="cspnext",
            depthwise=False,
            norm=norm,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            recompute=recompute,
            weights=weights,
        )


class Focus(nn.Module):
    """Each 2 x 2 pixels become one of four times the channels, then a 3x3 convolution: stride 2."""

    def __init__(self, channels: int, norm: NormKind) -> None:
        super().__init__()
        self.conv = ConvNormAct(12, channels, 3, padding=1, norm=norm, act="silu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, H / 2, W / 2); H and W are even."""
        corners = (x[..., i::2, j::2] for j in (0, 1) for i in (0, 1))
        return self.conv(torch.cat(list(corners), dim=1))


def _stages(
    plan: tuple[tuple[int, int, int], ...], depth: float, width: float
) -> tuple[tuple[int, int, int, bool], ...]:
    """A scaled plan; blocks of the last stage, behind the pooling, don't add."""
    return tuple(
        (int(a * width), int(b * width), max(round(blocks * depth), 1), i < len(plan) - 1)
        for i, (a, b, blocks) in enumerate(plan)
    )
