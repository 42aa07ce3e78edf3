"""2s-AGCN, whose two streams are two such networks, of joints and of bones."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from omma.registry import register
from omma_action.layouts import LAYOUTS, LayoutName, Partition
from omma_action.models.graph_backbone import GraphBackbone
from omma_action.models.graph_conv import AdaptiveGraphConv, TemporalConv


@register
class AGCN(GraphBackbone):
    """Adaptive graph convolutional network (Shi et al., CVPR 2019).

    Args:
        layout: how the joints hang together.
        partition: what the neighbours of a joint are divided into to begin with.
        in_channels, base_channels, blocks, widen, shorten, persons, dropout: as ``GraphBackbone``.
    """

    def __init__(
        self,
        *,
        layout: LayoutName = "coco",
        partition: Partition = "spatial",
        in_channels: int = 3,
        base_channels: int = 64,
        blocks: int = 10,
        widen: Sequence[int] = (5, 8),
        shorten: Sequence[int] = (5, 8),
        persons: int | None = 2,
        dropout: float = 0.0,
    ) -> None:
        graph = LAYOUTS[layout].graph(partition)

        def parts(
            in_channels: int, out_channels: int, *, stride: int, dropout: float
        ) -> tuple[nn.Module, nn.Module]:
            gcn = AdaptiveGraphConv(in_channels, out_channels, graph)
            return gcn, TemporalConv(out_channels, out_channels, stride=stride, dropout=dropout)

        super().__init__(
            layout=LAYOUTS[layout],
            parts=parts,
            in_channels=in_channels,
            base_channels=base_channels,
            blocks=blocks,
            widen=widen,
            shorten=shorten,
            persons=persons,
            dropout=dropout,
        )
