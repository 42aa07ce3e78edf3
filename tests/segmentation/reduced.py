"""The model of any segmentation config for few classes, on a plain backbone where it is one of the core's."""

from __future__ import annotations

from functools import lru_cache

import torch

from omma.config import list_configs
from omma.config.plan import Part, Plan
from omma.model import Model

from ..plain import composition, model_plan, with_plain_backbone

CLASSES = 3


def model_configs() -> list[str]:
    """One config, the first by name, for each composition of parts."""
    chosen: dict[str, str] = {}
    for name, path in sorted(list_configs().items()):
        if path.parent.parent.name == "segmentation":
            chosen.setdefault(repr(composition(model_plan(name, CLASSES).value, _replaced)), name)
    return sorted(chosen.values())


@lru_cache(maxsize=1)
def reduced_model(name: str) -> Model:
    """The model of a config; the same object again if it is asked for twice in a row."""
    plan = model_plan(name, CLASSES)
    if _replaced(plan.value.arguments["backbone"]):
        plan = with_plain_backbone(plan)
    torch.manual_seed(0)
    return Plan(plan.value, plan.config).build()


def _replaced(backbone: Part) -> bool:
    """Backbones of the core have tests of their own; those of segmentation are half of their models."""
    return backbone.target.__module__.startswith("omma.")
