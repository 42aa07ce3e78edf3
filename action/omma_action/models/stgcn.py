"""ST-GCN and ST-GCN++."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import nn

from omma.registry import register
from omma_action.layouts import LAYOUTS, LayoutName, Partition
from omma_action.models.graph_backbone import GraphBackbone
from omma_action.models.graph_conv import Adaptation, GraphConv, MultiScaleTemporalConv, TemporalConv


@register
class STGCN(GraphBackbone):
    """Spatial temporal graph convolutional network (Yan et al., AAAI 2018); ST-GCN++ (Duan et al., 2022).

    The latter is ``partition: spatial, adaptation: init, residual: true, temporal: multi_scale``.

    Args:
        layout: how the joints hang together.
        partition: what the neighbours of a joint are divided into.
        adaptation: how the graph is learned.
        residual: add the input of each convolution over the graph to what it gives.
        temporal: one long convolution along time, or several scales of it.
        in_channels, base_channels, blocks, widen, shorten, persons, dropout: as ``GraphBackbone``.
    """

    def __init__(
        self,
        *,
        layout: LayoutName = "coco",
        partition: Partition = "stgcn_spatial",
        adaptation: Adaptation = "importance",
        residual: bool = False,
        temporal: Literal["single", "multi_scale"] = "single",
        in_channels: int = 3,
        base_channels: int = 64,
        blocks: int = 10,
        widen: Sequence[int] = (5, 8),
        shorten: Sequence[int] = (5, 8),
        persons: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        graph = LAYOUTS[layout].graph(partition)

        def parts(
            in_channels: int, out_channels: int, *, stride: int, dropout: float
        ) -> tuple[nn.Module, nn.Module]:
            gcn = GraphConv(in_channels, out_channels, graph, adaptation=adaptation, residual=residual)
            kind = TemporalConv if temporal == "single" else MultiScaleTemporalConv
            return gcn, kind(out_channels, out_channels, stride=stride, dropout=dropout)

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
