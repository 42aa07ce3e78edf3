from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omma.data.samplers import SequentialSampler
from omma.data.stream import EvalStream, TrainStream
from omma.errors import DataError

from .small_dataset import Noise

WIDE, TALL = (2, 3), (3, 2)


def stream(shapes, **options):
    given = {"sampler": None, "batch_size": 2, "group_by_aspect": True, "seed": 0, **options}
    return TrainStream(Noise(shapes), **given)


shapes = st.lists(st.sampled_from([WIDE, TALL]), min_size=6, max_size=40)


@given(shapes, st.integers(0, 30), st.integers(1, 3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_starting_later_skips_exactly_the_batches_before(sizes, start, batch, group):
    options = {"batch_size": batch, "group_by_aspect": group, "seed": 4}
    whole = list(islice(stream(sizes, **options), start + 10))
    assert list(islice(stream(sizes, start=start, **options), 10)) == whole[start:]


@given(shapes, st.integers(1, 3), st.integers(1, 2), st.booleans())
@settings(max_examples=40, deadline=None)
def test_processes_share_an_epoch_without_overlap(sizes, batch, world, group):
    streams = [
        stream(sizes, batch_size=batch, world=world, rank=rank, group_by_aspect=group)
        for rank in range(world)
    ]
    length = len(streams[0])
    keys = [key[:2] for each in streams for keys in islice(each, length) for key in keys]
    assert length == len(sizes) // (batch * world)
    assert len(keys) == len(set(keys)) == length * batch * world


@given(shapes, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_at_most_one_batch_of_an_epoch_mixes_aspects(sizes, batch):
    one = stream(sizes, batch_size=batch)
    mixed = [len({sizes[i] for _, i, _ in keys}) > 1 for keys in islice(one, len(one))]
    assert sum(mixed) <= 1


def test_every_batch_names_the_epoch_it_belongs_to():
    one = stream([WIDE] * 6)
    assert [keys[0][0] for keys in islice(one, 7)] == [0, 0, 0, 1, 1, 1, 2]


def test_every_batch_has_its_number_in_the_run():
    one = stream([WIDE] * 6, start=2)
    assert [{key[2] for key in keys} for keys in islice(one, 4)] == [{2}, {3}, {4}, {5}]


def test_groups_keep_the_order_in_which_they_fill():
    sizes = [WIDE, TALL, TALL, WIDE, WIDE, TALL]
    one = stream(sizes, sampler=SequentialSampler())
    batches = [[i for _, i, _ in keys] for keys in islice(one, 2)]
    assert batches == [[1, 2], [0, 3]]


def test_every_sample_is_used_in_some_epoch():
    one = stream([WIDE] * 5 + [TALL] * 5, batch_size=3)
    used = [{i for _, i, _ in keys} for keys in islice(one, 3 * 40)]
    # An epoch leaves out one of the ten samples; 40 times the same one has a probability of 1e-39.
    assert set.union(*used) == set(range(10))


def test_what_an_epoch_leaves_out_is_of_either_aspect():
    one = stream([WIDE] * 5 + [TALL] * 5, batch_size=3)
    batches = [{i for _, i, _ in keys} for keys in islice(one, 3 * 40)]
    left_out = [set(range(10)) - set.union(*batches[3 * e : 3 * e + 3]) for e in range(40)]
    assert {min(each) < 5 for each in left_out} == {True, False}


def test_too_few_samples_for_a_batch_are_told():
    with pytest.raises(DataError, match=r"3 training samples.*2 on each of 2.*batch_size"):
        stream([WIDE] * 3, world=2)


@given(st.integers(0, 50), st.integers(1, 5), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_evaluation_sees_each_sample_once(length, batch, world):
    streams = [EvalStream(length, batch_size=batch, rank=rank, world=world) for rank in range(world)]
    seen = [i for each in streams for keys in each for _, i, _ in keys]
    assert sorted(seen) == list(range(length))
    assert [len(each) for each in streams] == [len(list(each)) for each in streams]
