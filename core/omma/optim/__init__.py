"""Recipes for optimisers and schedules, parameter rules, averaged weights."""

from omma.optim.ema import EMA, EMASettings
from omma.optim.optimizers import SGD, Adam, AdamW, Optimizer
from omma.optim.rules import ParamRule, param_groups
from omma.optim.schedules import Constant, Cosine, MultiStep, OneCycle, Poly, Schedule, Warmup

__all__ = [
    "EMA",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "EMASettings",
    "MultiStep",
    "OneCycle",
    "Optimizer",
    "ParamRule",
    "Poly",
    "Schedule",
    "Warmup",
    "param_groups",
]
