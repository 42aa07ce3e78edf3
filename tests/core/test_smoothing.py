"""The one-euro filter, by its formula and by what it is for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from omma.inference import Frame, Seen, Smoothing
from omma.inference.smoothing import OneEuro
from omma.structures import DataInfo, Prediction, Skeleton

IMAGE = np.zeros((100, 200, 3), np.uint8)
INFO = DataInfo(("person",), skeleton=Skeleton(names=("nose", "hand")))
RATE = 25.0


def by_formula(values: list[float], rate: float, min_cutoff: float, beta: float) -> list[float]:
    """Casiez et al., 2012, algorithm 1, for one number; the speed's own cutoff is 1 Hz."""

    def alpha(cutoff: float) -> float:
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau * rate)

    smoothed, slope, out = values[0], 0.0, [values[0]]
    for value in values[1:]:
        slope = alpha(1.0) * ((value - smoothed) * rate) + (1 - alpha(1.0)) * slope
        a = alpha(min_cutoff + beta * abs(slope))
        smoothed = a * value + (1 - a) * smoothed
        out.append(smoothed)
    return out


def test_the_filter_is_that_of_its_formula():
    values = np.random.default_rng(0).normal(size=60).cumsum()
    filtered = OneEuro(min_cutoff=1.3, beta=0.4)
    places = [
        filtered(np.array([[value, 0.0], [0.0, 2 * value]]), i / RATE) for i, value in enumerate(values)
    ]
    expected = np.array(by_formula(values.tolist(), RATE, 1.3, 0.4))
    np.testing.assert_allclose([place[0, 0] for place in places], expected, rtol=1e-12)
    twice = np.array(by_formula((2 * values).tolist(), RATE, 1.3, 0.4))
    np.testing.assert_allclose([place[1, 1] for place in places], twice, rtol=1e-12)


def test_speed_is_counted_in_units_and_in_any_direction():
    """Ten times as large, and turned: the same movement."""
    values = np.random.default_rng(1).normal(size=(40, 2)).cumsum(axis=0)
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])
    small, large = OneEuro(min_cutoff=1.0, beta=2.0), OneEuro(min_cutoff=1.0, beta=2.0)
    for i, value in enumerate(values):
        one = small(value[None], i / RATE)
        other = large(10 * value[None] @ turn, i / RATE, 10.0)
    np.testing.assert_allclose(other, 10 * one @ turn, rtol=1e-10)


def video(places: np.ndarray, numbers: list[int] | None = None, size: float = 50.0) -> list[Seen]:
    """Frames with one person each, whose two key points lie at places (T, 2, 2), in a box of one size."""
    return [
        Seen(Frame(IMAGE, "v.mp4", number, RATE), person(points, size), INFO)
        for number, points in zip(numbers or range(len(places)), places)
    ]


def person(points: np.ndarray, size: float) -> Prediction:
    corner = points.mean(axis=0) - size / 2
    return Prediction(
        boxes=torch.tensor([[*corner, *(corner + size)]], dtype=torch.float32),
        scores=torch.ones(1),
        labels=torch.zeros(1, dtype=torch.int64),
        keypoints=torch.tensor(points[None], dtype=torch.float32),
        keypoint_scores=torch.ones(1, 2),
        areas=torch.full((1,), size**2),
    )


def smoothed(frames: list[Seen], **options) -> np.ndarray:
    return np.stack([each.prediction["keypoints"][0].numpy() for each in Smoothing(**options).after(frames)])


def test_what_is_at_rest_jitters_less():
    noise = np.random.default_rng(0).normal(0, 0.5, (200, 2, 2))
    steady = smoothed(video(50 + noise)) - 50
    assert np.diff(steady[20:], axis=0).std() < 0.35 * np.diff(noise, axis=0).std()
    assert steady[20:].std() < 0.6 * noise.std()


def test_what_moves_is_no_farther_off_than_without_a_filter():
    """At half its size a second, with errors of a hundredth of it."""
    noise = np.random.default_rng(0).normal(0, 0.5, (200, 2, 2))
    way = np.arange(200)[:, None, None] / RATE * 25 * np.array([1.0, 0.0]) + np.zeros((1, 2, 1))
    error = smoothed(video(way + noise)) - way
    assert np.sqrt((error[20:] ** 2).mean()) < 1.1 * 0.5
    assert np.diff(error[20:], axis=0).std() < 0.75 * np.diff(noise, axis=0).std()


@pytest.mark.parametrize("speed", [0.5, 2.0, 8.0])
def test_what_moves_steadily_lags_by_a_bounded_share_of_its_size(speed):
    size, beta = 50.0, 5.0
    way = np.arange(60)[:, None, None] / RATE * speed * size * np.array([0.6, 0.8]) + np.zeros((1, 2, 1))
    lag = np.linalg.norm(smoothed(video(way), beta=beta) - way, axis=-1)
    assert lag[30:].max() <= size / (2 * math.pi * beta)


def test_each_person_has_a_filter_and_images_and_new_videos_begin_anew():
    ways = np.stack([np.full((2, 2), 20.0), np.full((2, 2), 21.0)])
    first, second = video(ways), video(ways + 100)
    image = Seen(Frame(IMAGE, "a.jpg"), first[0].prediction, INFO)
    passed = list(Smoothing().after([first[0], image, first[1], second[0], second[1]]))
    assert passed[1] is image
    assert passed[2].prediction["keypoints"][0, 0, 0] < 21
    np.testing.assert_allclose(passed[3].prediction["keypoints"][0].numpy(), ways[0] + 100)
    assert [int(each.prediction["tracks"][0]) for each in (passed[0], passed[2], passed[3])] == [0, 0, 0]


def test_a_person_who_was_lost_is_not_dragged_from_where_it_was():
    ways = np.full((2, 2, 2), 20.0)
    ways[1] += 5
    soon, late = smoothed(video(ways, [0, 1])), smoothed(video(ways, [0, 20]))
    assert soon[1].max() < 25
    np.testing.assert_allclose(late[1], 25)


def test_an_empty_frame_passes():
    frames = video(np.full((3, 2, 2), 20.0))
    nothing = {key: value[:0] for key, value in frames[1].prediction.items()}
    frames[1] = Seen(frames[1].frame, nothing, INFO)
    assert [len(each.prediction["tracks"]) for each in Smoothing().after(frames)] == [1, 0, 1]


@pytest.mark.parametrize("arguments", [{"min_cutoff": 0.0}, {"beta": -1.0}])
def test_numbers_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="expected min_cutoff above 0"):
        Smoothing(**arguments)
