"""Models of configs on a backbone that costs nothing, for tests of everything behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.config import Config, check
from omma.config.plan import Part, Plan
from omma.experiment import Experiment


class PlainBackbone(Backbone):
    """One convolution of the averaged image for each map: the shapes of any backbone without its cost."""

    def __init__(
        self, out_channels: tuple[int, ...], strides: tuple[int, ...], class_tokens: bool = False
    ) -> None:
        super().__init__()
        self.out_channels, self.strides = tuple(out_channels), tuple(strides)
        self.class_tokens = class_tokens
        self.convs = nn.ModuleList(nn.Conv2d(3, c, 3, padding=1) for c in out_channels)
        # Not every neck uses all maps, so that some could get no gradient.
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        pooled = [F.avg_pool2d(x, s, ceil_mode=True) for s in self.strides]
        maps = tuple(conv(p).relu() for conv, p in zip(self.convs, pooled))
        return maps + tuple(m.mean((2, 3)) for m in maps) if self.class_tokens else maps


class PlainRecursiveBackbone(PlainBackbone):
    """In place of a backbone within a recursive pyramid: what is fed is added to the last three maps."""

    def __init__(self, rfp_channels: int) -> None:
        super().__init__((256, 512, 1024, 2048), (4, 8, 16, 32))
        self.rfp_channels = rfp_channels
        self.rfp_convs = nn.ModuleList(nn.Conv2d(rfp_channels, c, 1) for c in self.out_channels[1:])

    def forward(self, x: Tensor, fed: Sequence[Tensor] = ()) -> tuple[Tensor, ...]:
        first, *others = super().forward(x)
        return first, *(m + conv(f) for m, conv, f in zip(others, self.rfp_convs, fed))


@cache
def model_plan(name: str, classes: int) -> Plan:
    """The plan of a config's model for so many classes, without a file of weights."""
    names = ", ".join(f"class{i}" for i in range(classes))
    overrides = [f"data.num_classes={classes}", f"data.classes=[{names}]"]
    config = Config.load(name, overrides)
    # A backbone of one task may hold one of the core.
    parts = ("model.backbone", "model.backbone.backbone")
    if files := [f"{part}.weights" for part in parts if config.get(f"{part}.weights") is not None]:
        config = Config.load(name, [*overrides, *(f"{file}=null" for file in files)])
    return check(config, Experiment)["model"]


def with_plain_backbone(plan: Plan) -> Plan:
    """The plan of a model with a plain backbone of the same widths and strides."""
    backbone = plan.value.arguments["backbone"]
    with torch.device("meta"):
        real = Plan(backbone, plan.config).build()
    shapes = {"out_channels": real.out_channels, "strides": real.strides}
    tokens = {"class_tokens": backbone.arguments.get("return_class_token", False)}
    plain = Part(PlainBackbone, shapes | tokens, backbone.path)
    return Plan(replace(plan.value, arguments={**plan.value.arguments, "backbone": plain}), plan.config)


def composition(value: Any, replaced: Callable[[Part], bool]) -> Any:
    """What a plan is made of, without its numbers; of backbones that are replaced nothing."""
    if isinstance(value, Part):
        return value.target.__name__, {
            key: None if key == "backbone" and replaced(argument) else composition(argument, replaced)
            for key, argument in value.arguments.items()
        }
    if isinstance(value, list | tuple):
        return [part for part in (composition(item, replaced) for item in value) if part is not None]
    return value if isinstance(value, bool | str) else None
