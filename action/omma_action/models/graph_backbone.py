"""The frame of networks that convolve over a graph of joints and along time by turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from omma_action.layouts import Layout
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.graph_conv import TemporalConv


class BlockParts(Protocol):
    """Makes what a block consists of."""

    def __call__(
        self, in_channels: int, out_channels: int, *, stride: int, dropout: float
    ) -> tuple[nn.Module, nn.Module]:
        """The convolution over the graph, and the one along time."""
        ...


class GraphBlock(nn.Module):
    """A convolution over the graph, one along time, and what leads past both."""

    def __init__(
        self, gcn: nn.Module, tcn: nn.Module, *, in_channels: int, out_channels: int, stride: int, first: bool
    ) -> None:
        super().__init__()
        self.gcn, self.tcn, self.first = gcn, tcn, first
        if not first and (in_channels != out_channels or stride != 1):
            self.residual = TemporalConv(in_channels, out_channels, 1, stride=stride)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, K) -> (N, C', ceil(T / stride), K)."""
        out = self.tcn(self.gcn(x))
        if not self.first:
            out = out + (self.residual(x) if hasattr(self, "residual") else x)
        return self.relu(out)


class GraphBackbone(ClipBackbone):
    """Blocks of graph convolutions on skeletons.

    Args:
        layout: how the joints hang together.
        parts: makes what a block consists of.
        in_channels: numbers per joint.
        base_channels: channels of the first block.
        blocks: how many there are.
        widen: blocks, counted from 1, that double the channels.
        shorten: blocks, likewise, that halve the frames.
        persons: normalise each of so many persons by statistics of its own; null: all persons alike.
        dropout: in the blocks' convolutions along time but the first's.

    Raises:
        ValueError: a number isn't positive.
    """

    def __init__(
        self,
        *,
        layout: Layout,
        parts: BlockParts,
        in_channels: int,
        base_channels: int,
        blocks: int,
        widen: Sequence[int],
        shorten: Sequence[int],
        persons: int | None,
        dropout: float,
    ) -> None:
        super().__init__()
        if min(in_channels, base_channels, blocks, persons or 1) < 1:
            raise ValueError(
                "in_channels, base_channels, blocks and persons must be at least 1, got "
                f"{in_channels}, {base_channels}, {blocks}, {persons}"
            )
        self.in_channels, self.joints, self.persons = in_channels, len(layout), persons
        self.data_bn = nn.BatchNorm1d((persons or 1) * in_channels * len(layout))
        self.gcn = nn.ModuleList()
        channels, width = in_channels, base_channels
        for number in range(1, blocks + 1):
            first = number == 1
            stride = 2 if not first and number in shorten else 1
            width *= 2 if not first and number in widen else 1
            gcn, tcn = parts(channels, width, stride=stride, dropout=0.0 if first else dropout)
            self.gcn.append(
                GraphBlock(gcn, tcn, in_channels=channels, out_channels=width, stride=stride, first=first)
            )
            channels = width
        self.out_channels = (channels,)

    def arrange(self, views: Tensor) -> Tensor:
        """Views (B, M, T, K, C) as they are."""
        return views

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Skeletons (N, M, T, K, C) to one map (N, M, out_channels[0], T', K).

        Raises:
            ValueError: the skeletons have another number of joints, of numbers per joint or of persons.
        """
        count, persons, frames, joints, channels = x.shape
        if (joints, channels) != (self.joints, self.in_channels) or self.persons not in (None, persons):
            raise ValueError(
                f"expected skeletons of {self.joints} joints with {self.in_channels} numbers each and "
                f"{self.persons or 'any number of'} persons, got {joints}, {channels} and {persons}"
            )
        together = 1 if self.persons is None else persons
        x = x.permute(0, 1, 3, 4, 2)  # (N, M, K, C, T)
        x = self.data_bn(x.reshape(-1, together * joints * channels, frames))
        x = x.view(-1, joints, channels, frames).permute(0, 2, 3, 1).contiguous()  # (N * M, C, T, K)
        for block in self.gcn:
            x = block(x)
        return (x.unflatten(0, (count, persons)),)
