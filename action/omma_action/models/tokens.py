"""What transformers on clips begin with."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from omma_action.models.clip_backbone import ClipBackbone


def start_tokens(backbone: ClipBackbone, weights: str | None, *, frozen: Iterable[str] = ()) -> None:
    """The end of a transformer's constructor: linear layers start narrow (truncated normal), or ``weights``.

    Args:
        backbone: filled in place.
        weights, frozen: as ``Pretrained.start``.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    backbone.start(weights, frozen=frozen)
