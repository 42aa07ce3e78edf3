from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omma.data.samplers import (
    ClassBalancedSampler,
    RandomSampler,
    RareClassSampler,
    RepeatFactorSampler,
    SequentialSampler,
)

from .small_dataset import Noise


def noise(counts):
    return Noise([(2, 2)] * len(counts), counts)


ALL = [
    RandomSampler(),
    SequentialSampler(),
    RepeatFactorSampler(threshold=0.5),
    ClassBalancedSampler(),
    RareClassSampler(temperature=0.5),
]
COUNTS = [[1, 0, 0], [2, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 3], [4, 0, 0]]


@pytest.mark.parametrize("sampler", ALL)
def test_the_same_epoch_and_seed_give_the_same_order(sampler):
    first, again = (sampler.order(noise(COUNTS), 3, 7) for _ in range(2))
    assert first.tolist() == again.tolist()


@pytest.mark.parametrize("sampler", ALL)
def test_every_epoch_has_the_same_length(sampler):
    assert len({len(sampler.order(noise(COUNTS), epoch, 0)) for epoch in range(5)}) == 1


@pytest.mark.parametrize(
    "sampler", [RandomSampler(), RepeatFactorSampler(), ClassBalancedSampler(), RareClassSampler()]
)
def test_other_epochs_and_other_seeds_have_other_orders(sampler):
    dataset = noise([[1]] * 50)
    orders = [tuple(sampler.order(dataset, epoch, seed)) for epoch, seed in ((0, 0), (1, 0), (0, 1))]
    assert len(set(orders)) == 3


def test_orders_leave_numpys_global_generator_alone():
    np.random.seed(5)
    expected = np.random.rand()
    np.random.seed(5)
    for sampler in ALL:
        sampler.order(noise(COUNTS), 0, 0)
    assert np.random.rand() == expected


@given(st.integers(1, 200), st.integers(0, 5), st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_random_order_is_a_permutation(length, epoch, seed):
    order = RandomSampler().order(noise([[1]] * length), epoch, seed)
    assert sorted(order.tolist()) == list(range(length))


@given(st.lists(st.lists(st.integers(0, 2), min_size=3, max_size=3), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_repeat_factors_follow_the_papers_formula(counts):
    threshold = Fraction(3, 10)
    share = [Fraction(sum(row[c] > 0 for row in counts), len(counts)) for c in range(3)]

    def repeats(row):
        squares = [max(Fraction(1), threshold / share[c]) for c in range(3) if row[c]]
        # ceil(sqrt(x)) in exact arithmetic
        square = max(squares, default=Fraction(1))
        root = math.isqrt(math.ceil(square))
        return root if root * root >= square else root + 1

    order = RepeatFactorSampler(threshold=0.3).order(noise(counts), 0, 0)
    found = Counter(order.tolist())
    assert [found[i] for i in range(len(counts))] == [repeats(row) for row in counts]


def test_class_balanced_draws_classes_equally_often():
    counts = [[1, 0]] * 3990 + [[0, 1]] * 5 + [[0, 0]] * 5
    order = ClassBalancedSampler().order(noise(counts), 0, 0)
    drawn = np.array([(order < 3990).sum(), ((order >= 3990) & (order < 3995)).sum(), (order >= 3995).sum()])
    # 4000 draws of probability 1/3: five standard deviations are 149.
    assert np.abs(drawn - 4000 / 3).max() < 150


@pytest.mark.parametrize("temperature", [0.1, 0.5, 10.0])
def test_rare_classes_are_drawn_as_the_softmax_of_their_rareness_says(temperature):
    # 4000 images: pixels of class 0 in all but ten, of class 1 in ten; class 2 is nowhere.
    counts = [[3, 0, 0]] * 3990 + [[0, 3990, 0]] * 10
    order = RareClassSampler(temperature=temperature).order(noise(counts), 0, 0)
    share = np.array([3 * 3990, 10 * 3990]) / (13 * 3990)
    odds = math.exp((1 - share[0]) / temperature), math.exp((1 - share[1]) / temperature)
    assert len(order) == 4000
    # Five standard deviations are 0.04 at most.
    assert abs((order < 3990).mean() - odds[0] / sum(odds)) < 0.04


def test_samples_with_a_trace_of_a_class_do_not_stand_for_it():
    counts = [[50, 0]] * 5 + [[0, 2]] * 5 + [[0, 9]]
    order = RareClassSampler(temperature=0.01, least=5).order(noise(counts * 20), 0, 0)
    assert set((order % 11).tolist()) == {10}
    # No sample has as many of the second class as asked for: the one that has the most does.
    order = RareClassSampler(temperature=0.01, least=40).order(noise(counts * 20), 0, 0)
    assert set((order % 11).tolist()) == {10}


def test_without_any_class_samples_are_drawn_at_random():
    order = RareClassSampler().order(noise([[0, 0]] * 30), 0, 0)
    assert sorted(order.tolist()) == list(range(30))


def test_a_temperature_or_a_count_that_is_none_is_refused():
    with pytest.raises(ValueError, match="got 0 and 1"):
        RareClassSampler(temperature=0)
    with pytest.raises(ValueError, match="got 1 and 0"):
        RareClassSampler(temperature=1, least=0)


@pytest.mark.parametrize("threshold", [0, -1, 1.5])
def test_a_threshold_that_is_no_share_is_refused(threshold):
    with pytest.raises(ValueError, match=f"got {threshold}"):
        RepeatFactorSampler(threshold=threshold)
