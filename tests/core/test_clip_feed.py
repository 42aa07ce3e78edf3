"""How videos are cut into stretches, and what of them a model looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from omma.errors import SetupError
from omma.inference import ClipFeed, Frame, Seen
from omma.inference.clip_feed import skeletons_of, video_of
from omma.structures import DataInfo, Prediction, Skeleton

POSES = DataInfo(("person",), skeleton=Skeleton(names=("head", "foot"), bones=()))


def video(
    times: Sequence[float], path: str = "a.mp4", found: Sequence[Prediction] | None = None
) -> list[Seen]:
    image = np.zeros((8, 12, 3), np.uint8)
    frames = [Frame(image + i % 250, path, i, 10.0, time) for i, time in enumerate(times)]
    return [Seen(f, found[i] if found else {}, POSES) for i, f in enumerate(frames)]


def steady(seconds: float) -> list[float]:
    return [i / 10 for i in range(round(10 * seconds))]


def cut(feed: ClipFeed, found: Sequence[Seen]) -> list[tuple[float, float, int, int]]:
    """Start, end, frames shown and frames looked at of each window."""
    return [(w.span.start, w.span.end, len(w.shown), len(w.looked)) for w in feed.windows(found)]


def test_a_video_is_cut_into_stretches_and_a_short_rest_belongs_to_the_last():
    assert cut(ClipFeed(every=1.0), video(steady(2.0))) == [(0, 1, 10, 10), (1, 2, 10, 10)]
    assert cut(ClipFeed(every=1.0), video(steady(2.4))) == [(0, 1, 10, 10), (1, 2.4, 14, 14)]
    assert cut(ClipFeed(every=1.0), video(steady(2.6))) == [(0, 1, 10, 10), (1, 2, 10, 10), (2, 2.6, 6, 6)]
    assert cut(ClipFeed(every=5.0), video(steady(0.3))) == [(0, 0.3, 3, 3)]


@pytest.mark.parametrize("around", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("every", [0.3, 1.0, 7.0])
def test_each_frame_is_shown_once_and_in_order_whatever_the_times(every: float, around: float):
    times = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.8, 60))
    found = [*video((times - times[0]).tolist()), *video(steady(1.7), "b.mp4")]
    windows = list(ClipFeed(every=every, around=around).windows(found))
    assert [seen for window in windows for seen in window.shown] == found
    for window in windows:
        looked = [any(seen is other for other in window.looked) for seen in found]
        for seen, there in zip(found, looked):
            low, high = window.span.start - around, window.span.end + around
            time = seen.frame.time or 0
            near = seen.path == window.shown[0].path and low <= time < high
            # Spans are told to thousandths.
            assert there == near or min(abs(time - low), abs(time - high)) < 1e-3


def test_frames_are_held_back_no_longer_than_needed():
    taken = []
    stream = (taken.append(seen) or seen for seen in video(steady(60)))
    next(iter(ClipFeed(every=2.0, around=0.5).windows(stream)))
    assert len(taken) == 31


def test_a_single_image_is_refused():
    seen = Seen(Frame(np.zeros((8, 8, 3), np.uint8), "a.jpg"), {}, POSES)
    with pytest.raises(SetupError, match=r"a\.jpg is a single image"):
        list(ClipFeed().windows([seen]))


def test_numbers_out_of_range_are_refused():
    with pytest.raises(ValueError, match="every above 0"):
        ClipFeed(every=0)


class Ends:
    """The first and the last frame, as two views."""

    def frames(self, total: int, rate: float) -> np.ndarray:
        assert rate == pytest.approx(10)
        return np.array([[0], [total - 1]])


def test_frames_are_looked_at_as_the_sampling_says():
    (window,) = ClipFeed().windows(video(steady(1.0)))
    shown = video_of(window, Ends())["video"]
    assert shown.shape == (2, 1, 3, 8, 12)
    assert shown.amax((1, 2, 3, 4)).tolist() == [0, 9]


def person(place: float, track: int, score: float) -> Prediction:
    return {
        "tracks": torch.tensor([track]),
        "keypoints": torch.full((1, 2, 2), place),
        "keypoint_scores": torch.full((1, 2), score),
    }


def test_key_points_of_a_track_are_one_person_and_the_best_comes_first():
    found = [person(1.0, 7, 0.2), person(2.0, 3, 0.9), person(3.0, 7, 0.3)]
    (window,) = ClipFeed().windows(video(steady(0.3), found=found))
    shown = skeletons_of(window)
    assert shown is not None
    assert shown["canvas"] == (8, 12)
    joints = shown["skeleton"]
    assert joints.shape == (1, 2, 3, 2, 3)
    assert joints[0, :, :, 0].tolist() == [
        [[0, 0, 0], [2, 2, pytest.approx(0.9)], [0, 0, 0]],
        [[1, 1, pytest.approx(0.2)], [0, 0, 0], [3, 3, pytest.approx(0.3)]],
    ]


def test_a_stretch_without_anybody_shows_nothing():
    nobody: Prediction = {
        "tracks": torch.zeros(0, dtype=torch.int64),
        "keypoints": torch.zeros(0, 2, 2),
        "keypoint_scores": torch.zeros(0, 2),
    }
    (window,) = ClipFeed().windows(video(steady(0.2), found=[nobody, nobody]))
    assert skeletons_of(window) is None
