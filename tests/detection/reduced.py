"""The model of any detection config at a size that a test can afford: its own neck and heads, few boxes.

Of configs that differ only in numbers or in the backbone one stands for all. Backbones have tests of their
own, so a model gets a plain one of the same widths and strides, unless its other parts reach into it.
"""

from __future__ import annotations

import inspect
from dataclasses import is_dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from omma.backbones import DetectoRSResNet
from omma.config import list_configs
from omma.config.plan import Part, Plan
from omma.model import Model

from ..plain import PlainRecursiveBackbone, composition, model_plan, with_plain_backbone

CLASSES = 3
OWN_BACKBONE = frozenset({"TridentResNet"})
"""Backbones that can't be replaced: their models call more of them than ``forward``."""
FEW = {
    "pre_nms": 50,
    "pre_nms_train": 50,
    "pre_nms_test": 50,
    "max_proposals": 20,
    "max_per_image": 5,
    "score_threshold": 0.0,
    "min_score": 0.0,
    "mask_threshold": 0.0,
}
"""Limits of heads that are lowered, where they are higher."""
FEW_SAMPLES = 16
FC_WIDTH = 64


def model_configs() -> list[str]:
    """One config, the first by name, for each composition of parts."""
    chosen: dict[str, str] = {}
    for name, path in sorted(list_configs().items()):
        if path.parent.parent.name == "detection":
            chosen.setdefault(repr(composition(_plan(name).value, _replaced)), name)
    return sorted(chosen.values())


@lru_cache(maxsize=1)
def reduced_model(name: str) -> Model:
    """The model of a config; the same object again if it is asked for twice in a row."""
    plan = _plan(name)
    if _replaced(plan.value.arguments["backbone"]):
        plan = with_plain_backbone(plan)
    torch.manual_seed(0)
    model = Plan(_narrow(plan.value), plan.config).build()
    for module in model.modules():
        for attribute, limit in FEW.items():
            if isinstance(value := vars(module).get(attribute), int | float):
                setattr(module, attribute, min(value, limit))
        selection = getattr(module, "selection", None)
        if is_dataclass(selection) and not isinstance(selection, type):
            limits = {key: min(value, FEW[key]) for key, value in vars(selection).items() if key in FEW}
            module.selection = replace(selection, **limits)
        for sampler in _samplers(module):
            sampler.num = min(sampler.num, FEW_SAMPLES)
    return model


def _narrow(value: Any) -> Any:
    """A plan with narrow fully connected layers: most of the weights of region heads are there.

    The backbones of recursive pyramids become plain ones.
    """
    if isinstance(value, list | tuple):
        return type(value)(map(_narrow, value))
    if not isinstance(value, Part):
        return value
    arguments = {key: _narrow(argument) for key, argument in value.arguments.items()}
    if value.target is DetectoRSResNet:
        return Part(PlainRecursiveBackbone, {"rfp_channels": arguments["rfp_channels"]}, value.path)
    known = inspect.signature(value.target).parameters.get("fc_channels")
    if known is not None:
        widths = arguments.get("fc_channels", known.default)
        arguments["fc_channels"] = FC_WIDTH if isinstance(widths, int) else (FC_WIDTH,) * len(widths)
    return replace(value, arguments=arguments)


def _samplers(module: nn.Module) -> list[Any]:
    found = getattr(module, "sampler", None)
    return [each for each in (found if isinstance(found, tuple) else (found,)) if hasattr(each, "num")]


def _plan(name: str) -> Plan:
    return model_plan(name, CLASSES)


def _replaced(backbone: Part) -> bool:
    return backbone.target.__name__ not in OWN_BACKBONE
