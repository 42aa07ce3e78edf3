"""The random sampler's counts and fairness."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omma_detection.models.assigners import Assignment
from omma_detection.models.samplers import RandomBoxSampler

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
