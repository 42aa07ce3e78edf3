"""SE-ResNet and SE-ResNeXt (Hu et al., Squeeze-and-Excitation Networks, 2017)."""

from __future__ import annotations

from typing import Literal

from omma.backbones.extras import SqueezePlugin
from omma.backbones.residual import Style
from omma.backbones.resnet import ResNet
from omma.layers import NormKind
from omma.registry import register


@register
class SEResNet(ResNet):
    """ResNet whose bottlenecks weigh their channels by what they are on average.

    With ``groups`` it is SE-ResNeXt. Parameter names are OpenMMLab's: those of ResNet, and ``se_layer``.

    Args:
        depth: number of layers.
        reduction: of the channels that the weights are computed from.
        style: position of a bottleneck's stride.
        groups: of the 3x3 convolutions.
        width_per_group: their channels per group in the first stage; it doubles with each stage.
        deep_stem: three 3x3 convolutions in place of the 7x7 one.
        avg_down: average in shortcuts in place of a stride.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the first.
        zero_init_residual: start each block as the identity.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: Literal[50, 101, 152],
        reduction: int = 16,
        style: Style = "pytorch",
        groups: int = 1,
        width_per_group: int = 64,
        deep_stem: bool = False,
        avg_down: bool = False,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        zero_init_residual: bool = False,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__(
            depth=depth,
            style=style,
            groups=groups,
            width_per_group=width_per_group,
            deep_stem=deep_stem,
            avg_down=avg_down,
            norm=norm,
            norm_eval=norm_eval,
            frozen_stages=frozen_stages,
            out_indices=out_indices,
            zero_init_residual=zero_init_residual,
            plugins=(SqueezePlugin(reduction=reduction),),
            recompute=recompute,
            weights=weights,
        )
