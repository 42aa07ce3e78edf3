"""What the clips of the shapes world show, and what a single frame of them can't tell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from omma.data.shapes import ACTIONS
from omma.data.shapes.clips import Moment, make_clip, perform
from omma.data.shapes.figure import joints

TWINS = [(ACTIONS[label], ACTIONS[label + 1]) for label in range(0, len(ACTIONS), 2)]


def _moments(action: str, seed: int, count: int = 20) -> list[Moment]:
    return perform(np.random.default_rng(seed), ACTIONS.index(action), count)


def _points(action: str, seed: int) -> np.ndarray:
    """(T, 17, 2) key points of a performance in a frame of its own, height 1."""
    return np.stack(
        [joints(m.pose, foot=(m.shift, 0), height=1.0, faces_viewer=True) for m in _moments(action, seed)]
    )


@pytest.mark.parametrize(("forwards", "backwards"), TWINS[:3])
@pytest.mark.parametrize("seed", range(5))
def test_twins_show_the_same_frames_in_reverse(forwards: str, backwards: str, seed: int):
    assert _moments(forwards, seed) == _moments(backwards, seed)[::-1]


def test_a_held_arm_is_one_a_wave_passes_through():
    """Over many clips the forearm's angle is distributed alike, so a frame can't tell them apart."""
    angles = {
        action: np.concatenate([[max(m.pose.elbows) for m in _moments(action, seed)] for seed in range(400)])
        for action in ("wave", "hold")
    }
    quantiles = np.linspace(0.1, 0.9, 9)
    wave, hold = (np.quantile(angles[action], quantiles) for action in ("wave", "hold"))
    np.testing.assert_allclose(wave, hold, atol=0.12)


@pytest.mark.parametrize("seed", range(5))
def test_actions_do_what_their_names_say(seed: int):
    right, left = _points("step_right", seed), _points("step_left", seed)
    assert right[-1, 11:13, 0].mean() > right[0, 11:13, 0].mean() + 0.2
    assert left[-1, 11:13, 0].mean() < left[0, 11:13, 0].mean() - 0.2
    wrists = _points("raise_arms", seed)[:, 9:11, 1]
    assert (wrists[-1] < wrists[0] - 0.3).all()
    head = _points("crouch", seed)[:, 0, 1]
    assert head[-1] > head[0] + 0.1
    moving, still = _points("wave", seed), _points("hold", seed)
    assert np.ptp(moving[:, 9:11], axis=0).max() > 0.08
    assert np.ptp(still, axis=0).max() == 0


@pytest.mark.parametrize("label", range(len(ACTIONS)))
def test_a_clip_is_the_same_for_the_same_seed(label: int):
    first, second = (make_clip(np.random.default_rng(7), label, 64) for _ in range(2))
    assert np.array_equal(first.frames, second.frames)
    assert np.array_equal(first.keypoints, second.keypoints)
    assert 16 <= len(first.frames) <= 24
    assert first.label == label


def test_skeletons_belong_to_the_clips(shapes_world: Path):
    with (shapes_world / "clips" / "train.csv").open() as file:
        rows = list(csv.DictReader(file))
    with np.load(shapes_world / "skeletons" / "train.npz", allow_pickle=False) as skeletons:
        assert skeletons["paths"].tolist() == [row["path"] for row in rows]
        assert skeletons["labels"].tolist() == [int(row["label"]) for row in rows]
        assert skeletons["frames"].tolist() == [int(row["frames"]) for row in rows]
        assert skeletons["classes"].tolist() == list(ACTIONS)
        keypoints, scores = skeletons["keypoints"], skeletons["scores"]
    longest = max(int(row["frames"]) for row in rows)
    assert keypoints.shape == (len(rows), longest, 17, 2)
    assert scores.shape == (len(rows), longest, 17)
    for row, points, seen in zip(rows, keypoints, scores, strict=True):
        length = int(row["frames"])
        assert (seen[:length] > 0).all()
        assert (seen[:length] == 1).mean() > 0.7
        assert (seen[length:] == 0).all()
        assert (points[:length] > 0).all()
        assert (points[:length] < 112).all()


def test_the_figure_moves_on_a_still_background():
    """Where the figure of a step to the right has been and is no longer, the background returns."""
    clip = make_clip(np.random.default_rng(3), ACTIONS.index("step_right"), 96)
    corner = clip.frames[:, :6, :6].astype(float)
    assert np.abs(corner.mean(axis=(1, 2)) - corner.mean(axis=(0, 1, 2))).max() < 4
    assert np.abs(clip.frames[0].astype(float) - clip.frames[-1]).max() > 60
