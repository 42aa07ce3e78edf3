"""What networks on graphs of joints are made of; features are (N, C, T, K): T frames of K joints."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Adaptation = Literal["importance", "init"]
"""How the graph is learned: by a factor for each of its weights, or all of them, from where they start."""


class GraphConv(nn.Module):
    """Each joint gathers from its neighbours, by sets of them (Yan et al., ST-GCN, AAAI 2018).

    Args:
        in_channels, out_channels: C of the input and of the output.
        graph: (S, K, K) weights of the sets, see ``Layout.graph``.
        adaptation: how these are learned.
        residual: add the input, projected where the channels differ.
    """

    A: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        graph: Tensor,
        *,
        adaptation: Adaptation = "importance",
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.sets, self.adaptation, self.residual = len(graph), adaptation, residual
        if adaptation == "init":
            self.A = nn.Parameter(graph.clone())
        else:
            self.register_buffer("A", graph.clone())
            self.PA = nn.Parameter(torch.ones_like(graph))
        self.conv = nn.Conv2d(in_channels, out_channels * self.sets, 1)
        self.bn = nn.BatchNorm2d(out_channels)
        if residual and in_channels != out_channels:
            self.down = projection(in_channels, out_channels)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, K) -> (N, C', T, K)."""
        count, _, frames, joints = x.shape
        graph = self.A if self.adaptation == "init" else self.A * self.PA
        sets = self.conv(x).view(count, self.sets, -1, frames, joints)
        gathered = self.bn(torch.einsum("nsctj,sji->ncti", sets, graph))
        if self.residual:
            gathered = gathered + (self.down(x) if hasattr(self, "down") else x)
        return self.act(gathered)


class AdaptiveGraphConv(nn.Module):
    """The graph is learned, and bent by how alike the joints of a sequence are (Shi et al., CVPR 2019).

    Args:
        in_channels, out_channels: C of the input and of the output.
        graph: (S, K, K) where the weights of the sets start, see ``Layout.graph``.
        reduction: joints are compared in so many times fewer channels than C'.
    """

    def __init__(self, in_channels: int, out_channels: int, graph: Tensor, *, reduction: int = 4) -> None:
        super().__init__()
        sets, embedded = len(graph), out_channels // reduction
        self.A = nn.Parameter(graph.clone())
        self.alpha = nn.Parameter(torch.zeros(1))
        self.conv_d = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 1) for _ in range(sets))
        self.conv_a = nn.ModuleList(nn.Conv2d(in_channels, embedded, 1) for _ in range(sets))
        self.conv_b = nn.ModuleList(nn.Conv2d(in_channels, embedded, 1) for _ in range(sets))
        self.down = nn.Identity() if in_channels == out_channels else projection(in_channels, out_channels)
        self.bn = nn.BatchNorm2d(out_channels)
        self._init(sets)

    def _init(self, sets: int) -> None:
        for conv in (*self.conv_a, *self.conv_b, *self.down.modules()):
            if isinstance(conv, nn.Conv2d):
                init_fan_out(conv)
        for conv in self.conv_d.children():
            if isinstance(conv, nn.Conv2d):
                init_normal(conv, math.sqrt(2 / (conv.out_channels * conv.in_channels * sets)))
        # Blocks begin as what they do beside the graph.
        nn.init.constant_(self.bn.weight, 1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, K) -> (N, C', T, K)."""
        flat, total = x.flatten(1, 2), None
        for graph, project, first, second in zip(self.A, self.conv_d, self.conv_a, self.conv_b, strict=True):
            one, other = first(x).flatten(1, 2), second(x).flatten(1, 2)  # (N, E * T, K)
            alike = torch.tanh(one.mT @ other / one.shape[1])
            gathered = project((flat @ (graph + self.alpha * alike)).view(x.shape))
            total = gathered if total is None else total + gathered
        assert total is not None
        return torch.relu(self.bn(total) + self.down(x))


class TemporalConv(nn.Module):
    """A convolution along time with its batch norm.

    Args:
        in_channels, out_channels: C of the input and of the output.
        kernel_size: frames.
        stride, dilation: along time.
        norm: whether the batch norm is there.
        dropout: share of the values that is dropped in training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 9,
        *,
        stride: int = 1,
        dilation: int = 1,
        norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (kernel_size, 1),
            stride=(stride, 1),
            padding=(dilation * (kernel_size - 1) // 2, 0),
            dilation=(dilation, 1),
        )
        self.bn = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        init_fan_out(self.conv)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, K) -> (N, C', ceil(T / stride), K)."""
        return self.drop(self.bn(self.conv(x)))


class MultiScaleTemporalConv(nn.Module):
    """Short convolutions of four dilations, a maximum and a projection, side by side (Duan et al., 2022).

    Args:
        in_channels, out_channels: C of the input and of the output.
        stride: along time.
        dropout: share of the values that is dropped in training.
    """

    DILATIONS = (1, 2, 3, 4)

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        count = len(self.DILATIONS) + 2
        width = out_channels // count
        if width < 1:
            raise ValueError(f"out_channels must be at least {count}, one per branch, got {out_channels}")
        branches: list[nn.Module] = []
        for dilation in self.DILATIONS:
            # The first branch takes what the division leaves over.
            own = width if branches else out_channels - width * (count - 1)
            conv = TemporalConv(own, own, 3, stride=stride, dilation=dilation, norm=False)
            branches.append(nn.Sequential(*reduced(in_channels, own), conv))
        pool = nn.MaxPool2d((3, 1), stride=(stride, 1), padding=(1, 0))
        branches.append(nn.Sequential(*reduced(in_channels, width), pool))
        branches.append(nn.Conv2d(in_channels, width, 1, stride=(stride, 1)))
        self.branches = nn.ModuleList(branches)
        self.transform = nn.Sequential(
            nn.BatchNorm2d(out_channels), nn.ReLU(), nn.Conv2d(out_channels, out_channels, 1)
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, K) -> (N, C', ceil(T / stride), K)."""
        joined = torch.cat([branch(x) for branch in self.branches], dim=1)
        return self.drop(self.bn(self.transform(joined)))


def projection(in_channels: int, out_channels: int) -> nn.Sequential:
    """To other channels, normalised."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels))


def reduced(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    """To fewer channels, normalised and rectified."""
    return (nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels), nn.ReLU())


def init_fan_out(conv: nn.Conv2d) -> None:
    """He et al.'s normal weights over the fan-out, no bias."""
    init_normal(conv, math.sqrt(2 / (conv.out_channels * math.prod(conv.kernel_size))))


def init_normal(conv: nn.Conv2d, std: float) -> None:
    """Normal weights, no bias."""
    nn.init.normal_(conv.weight, std=std)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
