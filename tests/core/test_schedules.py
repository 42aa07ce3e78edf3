"""Schedules against torch's own schedulers and the formulas of their papers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler as referee

from omma.optim import Constant, Cosine, MultiStep, OneCycle, Poly, Schedule, Warmup

STEPS = 60


def ours(schedule: Schedule, total: int = STEPS, per_epoch: float = 5) -> list[float]:
    return [schedule.factor(step, total, per_epoch) for step in range(total)]


def theirs(make) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))], lr=1.0)
    scheduler = make(optimizer)
    factors = []
    for _ in range(STEPS):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return factors


def after_warmup(optimizer, main, steps: int):
    rise = referee.LinearLR(optimizer, start_factor=0.1, total_iters=steps)
    return referee.SequentialLR(optimizer, [rise, main], milestones=[steps])


CASES = {
    "multistep": (MultiStep(milestones=(8, 11)), lambda o: referee.MultiStepLR(o, [40, 55])),
    "multistep as fractions": (
        MultiStep(milestones=(0.5, 0.75), gamma=0.5),
        lambda o: referee.MultiStepLR(o, [30, 45], gamma=0.5),
    ),
    "cosine": (Cosine(), lambda o: referee.CosineAnnealingLR(o, STEPS)),
    "cosine with an end": (Cosine(final=0.05), lambda o: referee.CosineAnnealingLR(o, STEPS, eta_min=0.05)),
    "cosine after a flat part": (
        Cosine(flat=0.5),
        lambda o: referee.SequentialLR(
            o, [referee.ConstantLR(o, 1.0), referee.CosineAnnealingLR(o, STEPS // 2)], [STEPS // 2]
        ),
    ),
    "cosine after warm-up": (
        Cosine(warmup=Warmup(steps=10, start=0.1)),
        lambda o: after_warmup(o, referee.CosineAnnealingLR(o, STEPS - 10), 10),
    ),
    "poly": (Poly(power=0.9), lambda o: referee.PolynomialLR(o, STEPS, power=0.9)),
    "poly after warm-up": (
        Poly(power=0.9, warmup=Warmup(epochs=2, start=0.1)),
        lambda o: after_warmup(o, referee.PolynomialLR(o, STEPS - 10, power=0.9), 10),
    ),
    "one cycle": (OneCycle(), lambda o: referee.OneCycleLR(o, 1.0, STEPS, cycle_momentum=False)),
    "one cycle of straight lines": (
        OneCycle(rise=0.4, div=10, final_div=100, shape="linear"),
        lambda o: referee.OneCycleLR(
            o,
            1.0,
            STEPS,
            pct_start=0.4,
            div_factor=10,
            final_div_factor=100,
            anneal_strategy="linear",
            cycle_momentum=False,
        ),
    ),
    "constant": (Constant(), lambda o: referee.ConstantLR(o, 1.0)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_schedule_equals_torch(name):
    schedule, make = CASES[name]
    assert ours(schedule) == pytest.approx(theirs(make), abs=1e-12)


def test_linear_warmup_equals_torch():
    factors = ours(Constant(warmup=Warmup(steps=7, start=0.001)))
    assert factors == pytest.approx(theirs(lambda o: referee.LinearLR(o, 0.001, total_iters=7)), abs=1e-12)


def test_warmup_multiplies_the_curve():
    factors = ours(MultiStep(milestones=(1,), warmup=Warmup(steps=10, start=0.5)))
    assert factors[4:7] == pytest.approx([0.7, 0.75 * 0.1, 0.8 * 0.1])


def test_quadratic_warmup_follows_the_square_of_progress():
    factors = ours(Constant(warmup=Warmup(steps=4, start=0.0, shape="quadratic")))
    assert factors[:5] == pytest.approx([0, 1 / 16, 4 / 16, 9 / 16, 1])


def test_constant_warmup_stays_at_its_start():
    assert ours(Constant(warmup=Warmup(steps=3, start=0.2, shape="constant")))[:4] == [0.2, 0.2, 0.2, 1.0]


def test_warmup_longer_than_the_run_is_only_a_rise():
    factors = ours(Cosine(warmup=Warmup(steps=1000, start=0.0)))
    assert factors == pytest.approx([step / 1000 for step in range(STEPS)])


@pytest.mark.parametrize("arguments", [{}, {"steps": 5, "epochs": 1.0}])
def test_warmup_wants_exactly_one_length(arguments):
    with pytest.raises(ValueError, match="either steps or epochs"):
        Warmup(**arguments)


@given(total=st.integers(1, 500), per_epoch=st.floats(0.5, 100), warmup=st.integers(0, 50))
def test_every_factor_is_finite_and_not_negative(total, per_epoch, warmup):
    rise = Warmup(steps=warmup)
    for schedule in (
        Cosine(warmup=rise, flat=0.3),
        Poly(warmup=rise),
        OneCycle(),
        MultiStep(milestones=(3, 7)),
    ):
        for step in (0, total // 2, total - 1):
            factor = schedule.factor(step, total, per_epoch)
            assert math.isfinite(factor)
            assert 0 <= factor <= 1
