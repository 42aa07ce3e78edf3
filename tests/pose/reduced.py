"""The model of any pose config for few key points and small images, on a plain backbone."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch

from omma.backbones import CPM
from omma.config import list_configs
from omma.config.plan import Part, Plan
from omma.model import Model

from ..plain import composition, model_plan, with_plain_backbone

WIDTH = 64
"""The most channels of a map."""


def model_configs() -> list[str]:
    """One config, the first by name, for each composition of parts, whatever their key points are called."""
    chosen: dict[str, str] = {}
    for name, path in sorted(list_configs().items()):
        if path.parent.parent.name == "pose":
            model = model_plan(name, 1).value
            nameless = replace(model, arguments=model.arguments | {"skeleton": None})
            chosen.setdefault(repr(composition(nameless, _replaced)), name)
    return sorted(chosen.values())


@lru_cache(maxsize=1)
def reduced_model(name: str) -> Model:
    """The model of a config; the same object again if it is asked for twice in a row."""
    plan = model_plan(name, 1)
    parts = plan.value.arguments
    head = narrow(parts["head"])
    if _replaced(parts["backbone"]):
        plan = with_plain_backbone(plan)
        parts = plan.value.arguments
        if parts.get("neck") is None:
            parts = parts | {"backbone": thin(parts["backbone"])}
            head = replace(head, arguments=head.arguments | {"in_channels": least(head.arguments)})
    model = replace(plan.value, arguments=parts | {"head": head})
    torch.manual_seed(0)
    return Plan(model, plan.config).build()


def thin(backbone: Part) -> Part:
    """A plain backbone with few channels."""
    channels = tuple(min(c, WIDTH) for c in backbone.arguments["out_channels"])
    return replace(backbone, arguments=backbone.arguments | {"out_channels": channels})


def least(head: dict[str, Any]) -> Any:
    """What a head takes of a thin backbone: one number, or one for each of its maps."""
    width = head["in_channels"]
    return min(width, WIDTH) if isinstance(width, int) else tuple(min(w, WIDTH) for w in width)


def narrow(head: Part) -> Part:
    """A head with at most 16 channels of its own in each layer."""
    widths: Any = {
        key: tuple(min(width, 16) for width in head.arguments[key])
        for key in ("deconv_channels", "deconv_groups", "conv_channels")
        if key in head.arguments
    }
    return replace(head, arguments=head.arguments | widths)


def _replaced(backbone: Part) -> bool:
    """Backbones of the core have tests of their own; those of pose models are half of them, CPM all of it."""
    return backbone.target.__module__.startswith("omma.") and backbone.target is not CPM
