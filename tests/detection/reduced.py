"""The model of any detection config at a size that a test can afford: its own neck and heads, few boxes.

Of configs that differ only in numbers or in the backbone one stands for all. Backbones have tests of their
own, so a model gets a plain one of the same widths and strides, unless its other parts reach into it.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.config import Config, check, list_configs
from omma.config.plan import Part, Plan
from omma.experiment import Experiment
from omma.model import Model
from omma_detection.models.heads.detections import Selection

CLASSES = 3
OWN_BACKBONE = frozenset({"TridentResNet", "DetectoRSResNet"})
"""Backbones that can't be replaced: their models call more of them than ``forward``."""
FEW = {
    "pre_nms": 50,
    "pre_nms_train": 50,
    "pre_nms_test": 50,
    "max_proposals": 20,
    "max_per_image": 5,
    "score_threshold": 0.0,
}
"""Limits of heads that are lowered, where they are higher."""
FEW_SAMPLES = 16
FC_WIDTH = 64


class PlainBackbone(Backbone):
    """One convolution of the averaged image for each map: the shapes of any backbone without its cost."""

    def __init__(self, out_channels: tuple[int, ...], strides: tuple[int, ...]) -> None:
        super().__init__()
        self.out_channels, self.strides = tuple(out_channels), tuple(strides)
        self.convs = nn.ModuleList(nn.Conv2d(3, c, 3, padding=1) for c in out_channels)
        # Not every neck uses all maps, so that some could get no gradient.
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        pooled = [F.avg_pool2d(x, s, ceil_mode=True) for s in self.strides]
        return tuple(conv(p).relu() for conv, p in zip(self.convs, pooled))


def model_configs() -> list[str]:
    """One config, the first by name, for each composition of parts."""
    chosen: dict[str, str] = {}
    for name, path in sorted(list_configs().items()):
        if path.parent.parent.name == "detection":
            chosen.setdefault(repr(_composition(_plan(name).value)), name)
    return sorted(chosen.values())


@lru_cache(maxsize=1)
def reduced_model(name: str) -> Model:
    """The model of a config; the same object again if it is asked for twice in a row."""
    plan = _plan(name)
    backbone = plan.value.arguments["backbone"]
    if backbone.target.__name__ not in OWN_BACKBONE:
        with torch.device("meta"):
            real = Plan(backbone, plan.config).build()
        plain = Part(
            PlainBackbone, {"out_channels": real.out_channels, "strides": real.strides}, backbone.path
        )
        plan = Plan(replace(plan.value, arguments={**plan.value.arguments, "backbone": plain}), plan.config)
    torch.manual_seed(0)
    model = Plan(_narrow(plan.value), plan.config).build()
    for module in model.modules():
        for attribute, limit in FEW.items():
            if isinstance(value := getattr(module, attribute, None), int | float):
                setattr(module, attribute, min(value, limit))
        if isinstance(selection := getattr(module, "selection", None), Selection):
            limits = {key: min(value, FEW[key]) for key, value in vars(selection).items() if key in FEW}
            module.selection = replace(selection, **limits)
        for sampler in _samplers(module):
            sampler.num = min(sampler.num, FEW_SAMPLES)
    return model


def _narrow(value: Any) -> Any:
    """A plan with narrow fully connected layers: most of the weights of region heads are there."""
    if isinstance(value, list | tuple):
        return type(value)(map(_narrow, value))
    if not isinstance(value, Part):
        return value
    arguments = {key: _narrow(argument) for key, argument in value.arguments.items()}
    known = inspect.signature(value.target).parameters.get("fc_channels")
    if known is not None:
        widths = arguments.get("fc_channels", known.default)
        arguments["fc_channels"] = FC_WIDTH if isinstance(widths, int) else (FC_WIDTH,) * len(widths)
    return replace(value, arguments=arguments)


def _samplers(module: nn.Module) -> list[Any]:
    found = getattr(module, "sampler", None)
    return [each for each in (found if isinstance(found, tuple) else (found,)) if hasattr(each, "num")]


@cache
def _plan(name: str) -> Plan:
    names = ", ".join(f"class{i}" for i in range(CLASSES))
    overrides = [f"data.num_classes={CLASSES}", f"data.classes=[{names}]"]
    if Config.load(name).get("model.backbone.weights") is not None:
        overrides.append("model.backbone.weights=null")
    return check(Config.load(name, overrides), Experiment)["model"]


def _composition(value: Any) -> Any:
    """What a plan is made of, without its numbers; of backbones that are replaced nothing."""
    if isinstance(value, Part):
        return value.target.__name__, {
            key: None
            if key == "backbone" and argument.target.__name__ not in OWN_BACKBONE
            else _composition(argument)
            for key, argument in value.arguments.items()
        }
    if isinstance(value, list | tuple):
        return [part for part in map(_composition, value) if part is not None]
    return value if isinstance(value, bool | str) else None
