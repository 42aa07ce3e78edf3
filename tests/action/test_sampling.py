"""Which frames are looked at, against OpenMMLab's formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omma_action.datasets.sampling import Clips, DenseSegments, Sampling, Segments


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("total", [1, 3, 8, 9, 40, 301])
@pytest.mark.parametrize(
    "sampling",
    [
        Segments(segments=8),
        Segments(segments=8, random=False, twice=True),
        Segments(segments=8, random=False, views=4),
        DenseSegments(segments=8),
        DenseSegments(segments=8, random=False, views=10),
        Clips(frames=8, step=8),
        Clips(frames=4, step=2, clips=3),
        Clips(frames=8, step=8, random=False, clips=10),
        Clips(frames=8, step=8, rate=30, random=False),
    ],
    ids=lambda sampling: f"{type(sampling).__name__}",
)
def test_frames_are_of_the_clip_however_short_it_is(sampling: Sampling, total: int):
    for _ in range(20):
        found = sampling.frames(total, 24.0)
        assert found.ndim == 2
        assert found.dtype == np.int64
        assert found.min() >= 0
        assert found.max() < total


def test_tests_see_the_middles_of_equal_parts_and_their_beginnings():
    found = Segments(segments=4, random=False, twice=True).frames(42, 25.0)
    middles = [int(i * 10.5 + 5.25) for i in range(4)]
    assert found.tolist() == [middles, [int(i * 10.5) for i in range(4)]]


def test_tests_may_see_several_places_in_each_part():
    found = Segments(segments=4, random=False, views=3).frames(42, 25.0)
    assert found.tolist() == [[int(i * 10.5 + 10.5 * k / 4) for i in range(4)] for k in (1, 2, 3)]


def test_training_draws_one_frame_of_each_part_with_equal_chances():
    sampling = Segments(segments=3)
    draws = np.concatenate([sampling.frames(31, 25.0) for _ in range(3000)])
    for part in range(3):
        counts = np.bincount(draws[:, part] - 10 * part, minlength=10)
        assert counts.min() > 200  # of 300 expected each, with a deviation of 16
        assert len(counts) == 10


def test_clips_shorter_than_the_parts_repeat_frames_evenly():
    assert Segments(segments=6).frames(3, 25.0).tolist() == [[0, 0, 1, 1, 2, 2]]


def test_dense_tests_begin_at_places_from_the_first_to_the_last_possible_one():
    found = DenseSegments(segments=8, random=False, views=3).frames(164, 25.0)
    assert found[:, 0].tolist() == [0, 50, 100]
    assert (np.diff(found, axis=1) == 8).all()


def test_dense_stretches_of_short_clips_begin_again():
    found = DenseSegments(segments=4, span=8, random=False).frames(5, 25.0)
    assert found.tolist() == [[0, 2, 4, 1]]


def test_clips_lie_evenly_and_one_alone_in_the_middle():
    many = Clips(frames=4, step=4, random=False, clips=5).frames(53, 25.0)
    assert many[:, 0].tolist() == [0, 10, 20, 30, 40]  # the last begins 13 frames before the end
    assert many[0].tolist() == [0, 4, 8, 12]
    assert Clips(frames=4, step=4, random=False).frames(53, 25.0)[0, 0] == 20


def test_random_clips_lie_anywhere():
    sampling = Clips(frames=4, step=2)
    starts = {int(sampling.frames(12, 25.0)[0, 0]) for _ in range(300)}
    assert starts == set(range(5))


def test_a_step_counts_in_frames_of_the_given_rate():
    found = Clips(frames=4, step=5, random=False, rate=30).frames(1000, 60.0)[0]
    assert (found - found[0]).tolist() == np.linspace(0, 4 * 5 * 2 - 1, 4).astype(int).tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Segments(segments=0),
        lambda: Segments(segments=3, twice=True),
        lambda: Segments(segments=3, views=2),
        lambda: Segments(segments=3, random=False, views=0),
        lambda: DenseSegments(segments=8, span=4),
        lambda: Clips(frames=4, step=0),
        lambda: Clips(frames=4, rate=0),
    ],
)
def test_numbers_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match=r"must be|for tests"):
        make()
