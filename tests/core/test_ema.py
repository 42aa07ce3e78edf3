"""Averaged weights against the formula in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from omma.optim import EMA, EMASettings


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_average_follows_the_formula_for_weights_and_running_statistics():
    model = small()
    ema = EMA(model, EMASettings(decay=0.9, warmup=5))
    expected = {k: v.double().clone() for k, v in model.state_dict().items() if v.is_floating_point()}
    for step in range(1, 9):
        model(torch.randn(8, 3))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.randn_like(parameter)
        ema.update(model, step)
        decay = 0.9 * (1 - math.exp(-step / 5))
        for name, value in model.state_dict().items():
            if name in expected:
                expected[name] = decay * expected[name] + (1 - decay) * value.double()
    for name, value in expected.items():
        torch.testing.assert_close(ema.shadow[name].double(), value, rtol=1e-5, atol=1e-6)


def test_counters_are_copied():
    model = small()
    ema = EMA(model, EMASettings(decay=0.9))
    model(torch.randn(8, 3))
    ema.update(model, 1)
    assert ema.shadow["1.num_batches_tracked"] == 1


def test_swapping_gives_the_average_and_then_the_same_bits_back():
    model = small()
    ema = EMA(model, EMASettings(decay=0.5, warmup=0))
    with torch.no_grad():
        model[0].weight += 1
    ema.update(model, 1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with ema.swapped(model):
        assert torch.equal(model[0].weight, ema.shadow["0.weight"])
        assert not torch.equal(model[0].weight, before["0.weight"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_an_error_while_swapped_still_gives_the_weights_back():
    model = small()
    ema = EMA(model, EMASettings(decay=0.5, warmup=0))
    before = model[0].weight.detach().clone()
    ema.shadow["0.weight"] += 1

    def fail() -> None:
        with ema.swapped(model):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(model[0].weight, before)


def test_decay_without_warmup_is_constant():
    assert EMA(small(), EMASettings(decay=0.7, warmup=0)).decay_at(1) == 0.7
