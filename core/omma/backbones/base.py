"""The contract of every backbone, and what all of our own share: stages that don't train."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

B = TypeVar("B", bound="Pretrained")


class Pretrained(nn.Module):
    """A network, or a part of one, that starts from weights of which some needn't train."""

    norm_eval: bool = False
    """Whether batch norms keep to their stored statistics in training too."""
    frozen: tuple[str, ...] = ()
    """Names of the submodules and parameters that don't train, in eval mode always."""

    def train(self: B, mode: bool = True) -> B:
        """As ``nn.Module.train``, except that what is frozen and, on wish, batch norm stay in eval mode."""
        super().train(mode)
        modules = dict(self.named_modules())
        for name in self.frozen:
            if name in modules:
                modules[name].eval()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def start(self, weights: str | None, *, frozen: Iterable[str] = (), norm_frozen: bool = False) -> None:
        """The end of a constructor: initial weights, and what of them is not to change.

        Args:
            weights: a file, or ``publisher://name``; null: leave the random ones.
            frozen: names of submodules and parameters that don't train.
            norm_frozen: leave the weights and biases of all batch norms as they are.

        Raises:
            WeightsError: ``weights`` isn't there or isn't of this network.
        """
        if weights is not None:
            from omma.checkpoint.pretrained import load_pretrained

            load_pretrained(self, weights)
        self.frozen = tuple(frozen)
        modules = dict(self.named_modules())
        for name in self.frozen:
            if name in modules:
                modules[name].eval().requires_grad_(False)
            else:
                self.get_parameter(name).requires_grad_(False)
        if norm_frozen:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.requires_grad_(False)


class Backbone(Pretrained, ABC):
    """From images (N, 3, H, W) to a tuple of feature maps, fine to coarse."""

    out_channels: tuple[int, ...]
    """Channels of each map."""
    strides: tuple[int, ...]
    """Input pixels per pixel of each map."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of shape (N, out_channels[i], ceil(H / strides[i]), ceil(W / strides[i]))."""


def run(blocks: Iterable[Callable[[Tensor], Tensor]], x: Tensor, *, recompute: bool) -> Tensor:
    """``x`` through ``blocks`` in order.

    With ``recompute`` only the input of each block is kept for the backward pass and the block is run again
    there: less memory for more time (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016).
    """
    for block in blocks:
        if recompute and torch.is_grad_enabled() and x.requires_grad:
            x = checkpoint(block, x, use_reentrant=False)
        else:
            x = block(x)
    return x


def drop_rates(last: float, count: int) -> list[float]:
    """For each of ``count`` blocks, how often it is skipped: from 0 to ``last`` along the depth."""
    return [last * i / max(count - 1, 1) for i in range(count)]


def check_stages(out_indices: tuple[int, ...], known: range, frozen_stages: int, most: int) -> None:
    """Whether a backbone has the stages that are asked for.

    Args:
        out_indices: stages to return.
        known: those there are.
        frozen_stages: -1, or how many stages don't train.
        most: greatest ``frozen_stages``.

    Raises:
        ValueError: ``out_indices`` or ``frozen_stages`` is out of range.
    """
    if not out_indices or not set(out_indices) <= set(known) or sorted(set(out_indices)) != [*out_indices]:
        listed = ", ".join(map(str, known))
        raise ValueError(f"out_indices must be some of {listed} in rising order, got {out_indices}")
    if not -1 <= frozen_stages <= most:
        raise ValueError(f"frozen_stages must be in -1..{most}, got {frozen_stages}")
