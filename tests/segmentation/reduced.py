"""The model of any segmentation config for few classes, on a plain backbone where it is one of the core's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
import yaml

from omma.config import list_configs
from omma.config.plan import Part, Plan
from omma.model import Model

from ..plain import composition, model_plan, with_plain_backbone

CLASSES = 3
WIDTHS = {
    "channels": 32,
    "fine_channels": 16,
    "inner_channels": 32,
    "update_channels": 16,
    "hidden": 32,
    "heads": 2,
}
"""The most that heads may have of each."""


def model_configs() -> list[str]:
    """One config, the first by name, for each composition of parts; losses and windows are tested alone."""
    chosen: dict[str, str] = {}
    for name in distinct_models():
        model = without(("loss", "window", "align_corners"), model_plan(name, CLASSES).value)
        chosen.setdefault(repr(composition(model, _replaced)), name)
    return sorted(chosen.values())


def distinct_models() -> list[str]:
    """One config, the first by name, for each model: most differ from another in data and schedule only."""
    chosen: dict[str, str] = {}
    for name, path in sorted(list_configs().items()):
        if path.parent.parent.name == "segmentation":
            content = yaml.safe_load(path.read_text())
            bases = [b for b in content.get("base", []) if "/data/" not in b and "/schedules/" not in b]
            chosen.setdefault(repr((bases, content.get("model"))), name)
    return list(chosen.values())


def without(keys: Sequence[str], value: Any) -> Any:
    """The parts of a plan without some of their arguments."""
    if isinstance(value, list | tuple):
        return type(value)(without(keys, item) for item in value)
    if not isinstance(value, Part):
        return value
    kept = {key: without(keys, item) for key, item in value.arguments.items() if key not in keys}
    return replace(value, arguments=kept)


@lru_cache(maxsize=1)
def reduced_model(name: str) -> Model:
    """The model of a config; the same object again if it is asked for twice in a row."""
    plan = model_plan(name, CLASSES)
    if _replaced(plan.value.arguments["backbone"]):
        plan = with_plain_backbone(plan)
    parts = {key: narrow(plan.value.arguments.get(key)) for key in ("decode_head", "auxiliary_head")}
    parts["backbone"] = shallow(plan.value.arguments["backbone"])
    model = replace(plan.value, arguments=plan.value.arguments | parts)
    torch.manual_seed(0)
    return Plan(model, plan.config).build()


def narrow(value: Any) -> Any:
    """The parts of a plan with at most so many channels of their own; what they take stays as it is.

    They lose the weights of classes, which are those of the data set and not of these few.
    """
    if isinstance(value, list | tuple):
        return type(value)(narrow(item) for item in value)
    if not isinstance(value, Part):
        return value
    given = {key: argument for key, argument in value.arguments.items() if key != "class_weight"}
    arguments = {key: narrow(argument) for key, argument in given.items()}
    if arguments.get("num_convs") != 0:  # such a head classifies the map that it takes
        arguments |= {key: min(arguments[key], most) for key, most in WIDTHS.items() if key in arguments}
    return replace(value, arguments=arguments)


def shallow(backbone: Part) -> Part:
    """A backbone whose inner one, where there is one of the core, is its shallowest kind."""
    inner = backbone.arguments.get("backbone")
    if not isinstance(inner, Part) or "depth" not in inner.arguments:
        return backbone
    inner = replace(inner, arguments=inner.arguments | {"depth": 18})
    return replace(backbone, arguments=backbone.arguments | {"backbone": inner})


def _replaced(backbone: Part) -> bool:
    """Backbones of the core have tests of their own; those of segmentation are half of their models."""
    return backbone.target.__module__.startswith("omma.")
