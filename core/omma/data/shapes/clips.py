"""Short clips of a figure that performs an action which no single frame gives away.

Actions come in twins. The second of a pair is the first played backwards (or, for wave and hold, one moment
of it kept), so a frame narrows an action down to a pair and only the order of frames decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omma.data.shapes import figure as fig
from omma.data.shapes.figure import Pose
from omma.data.shapes.outlines import SHAPES
from omma.data.shapes.render import covered, finish, lay
from omma.data.shapes.scene import Stage

ACTIONS = ("step_right", "step_left", "raise_arms", "lower_arms", "crouch", "stand_up", "wave", "hold")
"""Label ``i`` of a clip is ``ACTIONS[i]``; right and left are the viewer's."""

_FRAMES = (16, 24)


@dataclass(frozen=True)
class Clip:
    """Frames, the figure's key points in each, and what it does."""

    frames: np.ndarray  # (T, H, W, 3) uint8, RGB
    keypoints: np.ndarray  # (T, 17, 3): x, y in pixels, visibility
    label: int


@dataclass(frozen=True)
class Moment:
    """One frame of a performance: a pose, and how far the feet are from the middle in figure heights."""

    pose: Pose
    shift: float = 0.0


def make_clip(rng: np.random.Generator, label: int, size: int) -> Clip:
    """A square clip of ``size`` pixels and 16 to 24 frames in which a figure performs ``ACTIONS[label]``."""
    stage = Stage(rng, size, size)
    for shape in rng.choice(SHAPES, int(rng.integers(0, 4))):
        center = rng.uniform(0.1, 0.9, 2) * size
        stage.add_shape(str(shape), center=(center[0], center[1]), radius=rng.uniform(0.06, 0.13) * size)
    look, height = fig.random_look(rng), rng.uniform(0.5, 0.7) * size
    x, y = rng.uniform(0.42, 0.58) * size, rng.uniform(0.84, 0.96) * size
    grain = rng.uniform(2, 7)
    frames, keypoints = [], []
    for moment in perform(rng, label, int(rng.integers(_FRAMES[0], _FRAMES[1] + 1))):
        foot = (x + moment.shift * height, y)
        points = fig.joints(moment.pose, foot=foot, height=height, faces_viewer=look.faces_viewer)
        image = stage.image.copy()
        layers = fig.layers(points, look, height, size, size)
        lay(image, layers)
        flags = fig.visibility(points, look, covered(layers, size, size))
        frames.append(finish(image, rng, grain))
        keypoints.append(np.concatenate([points, flags[:, None]], axis=1) * (flags > 0)[:, None])
    return Clip(np.stack(frames), np.stack(keypoints), label)


def perform(rng: np.random.Generator, label: int, count: int) -> list[Moment]:
    """``count`` moments of ``ACTIONS[label]``; twins draw the same numbers from ``rng``."""
    pair, backwards = divmod(label, 2)
    start, end = rng.uniform(0.0, 0.2), rng.uniform(0.8, 1.0)
    progress = np.clip((np.linspace(0, 1, count) - start) / (end - start), 0, 1)
    progress = progress * progress * (3 - 2 * progress)
    if pair == 3:
        return _wave(rng, count, still=bool(backwards))
    act = (_step, _raise_arms, _crouch)[pair]
    moments = act(rng, progress)
    return moments[::-1] if backwards else moments


def _step(rng: np.random.Generator, progress: np.ndarray) -> list[Moment]:
    """From the left to the right in a few sideways steps."""
    reach, steps, arms = rng.uniform(0.15, 0.3), int(rng.integers(2, 4)), rng.uniform(0.1, 0.6)
    spread = 0.05 + 0.3 * np.abs(np.sin(steps * np.pi * progress))
    return [
        Moment(Pose(shoulders=(arms, arms), hips=(legs, legs)), reach * (2 * done - 1))
        for done, legs in zip(progress.tolist(), spread.tolist(), strict=True)
    ]


def _raise_arms(rng: np.random.Generator, progress: np.ndarray) -> list[Moment]:
    """Both arms from hanging to up in the air."""
    low, high, bend = rng.uniform(0.1, 0.4), rng.uniform(2.3, 2.9), rng.uniform(-0.1, 0.4)
    legs = rng.uniform(0.02, 0.25)
    return [
        Moment(Pose(shoulders=(arm, arm), elbows=(bend, bend), hips=(legs, legs)))
        for arm in (low + (high - low) * progress).tolist()
    ]


def _crouch(rng: np.random.Generator, progress: np.ndarray) -> list[Moment]:
    """From standing to a deep bend of the knees."""
    deep, arms = rng.uniform(0.9, 1.2), rng.uniform(0.3, 1.2)
    return [
        Moment(Pose(shoulders=(arms, arms), hips=(bend, bend), knees=(-1.7 * bend, -1.7 * bend)))
        for bend in (0.08 + (deep - 0.08) * progress).tolist()
    ]


def _wave(rng: np.random.Generator, count: int, *, still: bool) -> list[Moment]:
    """One raised forearm swings, or stays where a swing would have it at a random moment."""
    side, arm, legs = int(rng.integers(2)), rng.uniform(1.7, 2.2), rng.uniform(0.02, 0.25)
    turns, phase, swing = rng.uniform(1.5, 2.5), rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 0.7)
    angles = phase + (0 if still else turns * 2 * np.pi) * np.linspace(0, 1, count)
    moments = []
    for forearm in (0.5 + swing * np.sin(angles)).tolist():
        pose = Pose(shoulders=(arm, 0.2), elbows=(forearm, 0.1), hips=(legs, legs))
        moments.append(Moment(fig.mirrored(pose) if side else pose))
    return moments
