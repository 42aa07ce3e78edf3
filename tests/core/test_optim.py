"""Optimiser recipes and parameter rules."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omma.optim import SGD, Adam, AdamW, ParamRule, param_groups
from omma.optim.rules import ParamRuleError


@pytest.fixture
def model() -> nn.Module:
    net = nn.Sequential()
    net.add_module("backbone", nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    net.add_module("head", nn.Linear(4, 2))
    return net


def settings(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("recipe", [SGD, Adam, AdamW])
def test_without_rules_there_is_one_group(model, recipe):
    assert len(recipe(lr=0.1).build(model, 4).param_groups) == 1


def test_reference_batch_rescales_the_rate_linearly(model):
    optimizer = SGD(lr=0.02, reference_batch=16).build(model, 4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.005)


def test_without_reference_batch_the_rate_is_taken_as_it_is(model):
    assert SGD(lr=0.02).build(model, 4).param_groups[0]["lr"] == 0.02


def test_a_rule_by_glob_and_one_by_kind_multiply(model):
    rules = (ParamRule(match="backbone.*", lr=0.1), ParamRule(kind="norm", weight_decay=0.0))
    found = settings(model, AdamW(lr=1.0, weight_decay=0.5, rules=rules).build(model, 1))
    assert found == {
        "backbone.0.weight": (0.1, 0.5),
        "backbone.0.bias": (0.1, 0.5),
        "backbone.1.weight": (0.1, 0.0),
        "backbone.1.bias": (0.1, 0.0),
        "head.weight": (1.0, 0.5),
        "head.bias": (1.0, 0.5),
    }


def test_kind_bias_leaves_norm_biases_alone(model):
    found = settings(model, SGD(lr=1.0, rules=(ParamRule(kind="bias", lr=2.0),)).build(model, 1))
    assert {name for name, (lr, _) in found.items() if lr == 2.0} == {"backbone.0.bias", "head.bias"}


def test_match_without_wildcard_is_a_part_of_the_name(model):
    found = settings(model, SGD(lr=1.0, rules=(ParamRule(match="head", lr=3.0),)).build(model, 1))
    assert {name for name, (lr, _) in found.items() if lr == 3.0} == {"head.weight", "head.bias"}


def test_equal_settings_are_merged_into_one_group(model):
    rules = (ParamRule(match="head", lr=0.1), ParamRule(match="backbone.0", lr=0.1))
    assert len(param_groups(model, lr=1.0, weight_decay=0.0, rules=rules)) == 2


def test_frozen_parameters_are_left_out(model):
    model.backbone.requires_grad_(False)
    assert set(settings(model, SGD(lr=1.0).build(model, 1))) == {"head.weight", "head.bias"}


def test_a_rule_for_frozen_parameters_is_no_mistake(model):
    model.backbone.requires_grad_(False)
    assert SGD(lr=1.0, rules=(ParamRule(match="backbone.*", lr=0.1),)).build(model, 1)


def test_a_rule_that_matches_nothing_names_the_nearest(model):
    with pytest.raises(ParamRuleError, match=r"'backbnoe\.\*' fits no parameter.*did you mean 'backbone'"):
        SGD(lr=1.0, rules=(ParamRule(match="backbnoe.*"),)).build(model, 1)


def test_a_rule_without_match_or_kind_is_refused():
    with pytest.raises(ValueError, match="needs 'match'"):
        ParamRule(lr=0.1)
