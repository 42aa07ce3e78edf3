"""The random sampler's counts and fairness."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omma_detection.models.assigners import Assignment
from omma_detection.models.samplers import (
    CombinedBoxSampler,
    InstanceBalancedDraw,
    IoUBalancedDraw,
    OHEMSampler,
    RandomBoxSampler,
    RandomDraw,
)

assigned = st.lists(st.integers(-2, 3), max_size=60).map(lambda v: torch.tensor(v, dtype=torch.int64))


@given(assigned, st.integers(1, 40), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_exactly_as_many_are_drawn_as_asked_for(objects: torch.Tensor, num: int, fraction: float):
    sampled = RandomBoxSampler(num=num, positive_fraction=fraction)(Assignment(objects))
    positives, negatives = int((objects >= 0).sum()), int((objects == -1).sum())
    expected = min(positives, int(num * fraction))
    assert len(sampled.positive) == expected
    assert len(sampled.negative) == min(negatives, num - expected)


@given(assigned, st.integers(1, 40))
def test_what_is_drawn_is_of_its_kind_and_drawn_once(objects: torch.Tensor, num: int):
    sampled = RandomBoxSampler(num=num, positive_fraction=0.5)(Assignment(objects))
    assert bool((objects[sampled.positive] >= 0).all())
    assert bool((objects[sampled.negative] == -1).all())
    assert len(set(sampled.positive.tolist())) == len(sampled.positive)
    assert len(set(sampled.negative.tolist())) == len(sampled.negative)


def test_every_prior_is_drawn_about_equally_often():
    torch.manual_seed(0)
    sampler, assignment = RandomBoxSampler(num=5, positive_fraction=0), Assignment(torch.full((20,), -1))
    counts = torch.zeros(20)
    for _ in range(2000):
        counts[sampler(assignment).negative] += 1
    # Binomial(2000, 1/4): deviation 19.4; five of them.
    assert float((counts - 500).abs().max()) < 97


def test_a_share_beyond_one_is_refused():
    with pytest.raises(ValueError, match=r"1\.5"):
        RandomBoxSampler(num=1, positive_fraction=1.5)


def test_each_object_has_about_as_many_positives():
    objects = torch.tensor([0] * 80 + [1] * 15 + [2] * 2)
    sampler = CombinedBoxSampler(
        num=60, positive_fraction=0.5, positive=InstanceBalancedDraw(), negative=RandomDraw()
    )
    chosen = objects[sampler(Assignment(objects)).positive]
    counts = chosen.bincount(minlength=3).tolist()
    # 30 over three objects: at most round(10) + 1 of each, all of those with fewer, the rest from the others.
    assert sum(counts) == 30
    assert counts[2] == 2
    assert counts[1] >= 11 - 3
    assert counts[0] >= 11 - 3


def test_negatives_come_equally_from_ranges_of_iou():
    iou = torch.cat([torch.linspace(0, 0.099, 300), torch.linspace(0.1, 0.3, 60)])
    assignment = Assignment(torch.full((360,), -1), iou)
    sampler = CombinedBoxSampler(
        num=60, positive_fraction=0.0, positive=RandomDraw(), negative=IoUBalancedDraw(bins=3)
    )
    chosen = iou[sampler(assignment).negative]
    # Ranges of 0.1 up to the highest IoU, 0.3, which belongs to no range.
    for low in (0.0, 0.1, 0.2):
        assert 20 <= int(((chosen >= low) & (chosen < low + 0.1)).sum()) <= 21


def test_hard_examples_are_those_with_the_highest_loss():
    objects = torch.tensor([0, 0, 0, -1, -1, -1, -1])
    losses = torch.tensor([0.1, 3.0, 1.0, 0.5, 0.0, 2.0, 4.0])
    sampled = OHEMSampler(num=4, positive_fraction=0.5)(Assignment(objects), losses)
    assert sampled.positive.tolist() == [1, 2]
    assert sampled.negative.tolist() == [5, 6]


def test_negatives_are_bounded_by_the_positives():
    objects = torch.tensor([0, 0] + [-1] * 50)
    sampled = RandomBoxSampler(num=40, positive_fraction=0.5, negatives_per_positive=3)(Assignment(objects))
    assert (len(sampled.positive), len(sampled.negative)) == (2, 6)
    none = RandomBoxSampler(num=40, positive_fraction=0.5, negatives_per_positive=3)(Assignment(objects[2:]))
    assert len(none.negative) == 3
