"""An articulated human-like figure: its pose, its 17 COCO key points and how it is drawn.

The figure stands in a plane facing the viewer or away from them. Lengths are fractions of its height.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from omma.data.shapes.render import Layer, colour, flat_layer

KEYPOINTS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
"""Names of the key points in COCO's order."""

SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10),
    (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
"""Bones between key points, numbered from 1 as COCO does."""

_HEAD_CENTER = np.array([0.0, -0.43])
_HEAD = np.array([0.085, 0.10])  # half axes
_FACE = np.array([[0.0, 0.02], [0.034, -0.02], [-0.034, -0.02], [0.07, 0.0], [-0.07, 0.0]])
_SHOULDER, _HIP = (0.12, -0.29), (0.065, 0.0)
_UPPER_ARM, _FOREARM, _THIGH, _SHIN = 0.165, 0.15, 0.22, 0.215


@dataclass(frozen=True)
class Pose:
    """Angles in radians from hanging straight down; positive swings away from the body. (left, right)."""

    shoulders: tuple[float, float] = (0.25, 0.25)
    elbows: tuple[float, float] = (0.1, 0.1)
    hips: tuple[float, float] = (0.1, 0.1)
    knees: tuple[float, float] = (0.0, 0.0)
    lean: float = 0.0
    """Turn of the whole figure, clockwise."""


@dataclass(frozen=True)
class Look:
    """What makes one figure differ from the next: colours are RGB float32 (3,) in 0..255."""

    skin: np.ndarray
    shirt: np.ndarray
    trousers: np.ndarray
    faces_viewer: bool


def random_look(rng: np.random.Generator) -> Look:
    """A skin tone, a shirt, trousers and a side to show; three in four face the viewer."""
    return Look(
        skin=colour(rng.uniform(0.05, 0.10), rng.uniform(0.3, 0.6), rng.uniform(0.5, 1.0)),
        shirt=colour(rng.uniform(), rng.uniform(0.5, 1.0), rng.uniform(0.5, 1.0)),
        trousers=colour(rng.uniform(), rng.uniform(0.2, 0.7), rng.uniform(0.15, 0.5)),
        faces_viewer=bool(rng.random() < 0.75),
    )


def random_pose(rng: np.random.Generator) -> Pose:
    """A pose of everyday: arms anywhere, legs apart, knees bent a little."""
    arms = rng.uniform(-0.1, 2.8, 2)
    forearms = rng.uniform(-0.2, 1.6, 2)
    legs = rng.uniform(0.0, 0.6, 2)
    shins = -legs * rng.uniform(0.0, 1.2, 2)
    return Pose(
        shoulders=(arms[0], arms[1]),
        elbows=(forearms[0], forearms[1]),
        hips=(legs[0], legs[1]),
        knees=(shins[0], shins[1]),
        lean=rng.normal(0, 0.15),
    )


def joints(pose: Pose, *, foot: tuple[float, float], height: float, faces_viewer: bool) -> np.ndarray:
    """Where the 17 key points lie in image pixels, float64 (17, 2).

    Args:
        pose: the angles.
        foot: the ground (x, y) below the hips; the lower ankle stands on it.
        height: of the upright figure in pixels.
        faces_viewer: the figure's left is then at the viewer's right.
    """
    points = np.zeros((17, 2))
    points[:5] = _HEAD_CENTER + _FACE
    for side, sign in ((0, 1.0), (1, -1.0)):
        arm = _chain(_SHOULDER, (_UPPER_ARM, _FOREARM), (pose.shoulders[side], pose.elbows[side]))
        leg = _chain(_HIP, (_THIGH, _SHIN), (pose.hips[side], pose.knees[side]))
        for first, chain in ((5, arm), (11, leg)):
            points[first + side : first + side + 5 : 2] = chain * (sign, 1.0)
    if not faces_viewer:
        points[:, 0] *= -1
    cos, sin = np.cos(pose.lean), np.sin(pose.lean)
    points = points @ np.array([[cos, sin], [-sin, cos]])
    points[:, 1] -= points[15:, 1].max()
    return points * height + np.asarray(foot)


def layers(points: np.ndarray, look: Look, tall: float, height: int, width: int) -> list[Layer]:
    """The pieces of a figure from the hindmost to the foremost.

    Args:
        points: (17, 2) from ``joints``.
        look: its colours.
        tall: height of the upright figure in pixels.
        height, width: of the picture.
    """
    return [flat_layer(polygon, tint, height, width) for polygon, tint in _parts(points, look, tall)]


def visibility(points: np.ndarray, look: Look, mask: np.ndarray) -> np.ndarray:
    """COCO's flag of each key point, uint8 (17,): 0 outside the image, 1 hidden, 2 visible.

    Args:
        points: (17, 2) from ``joints``.
        look: a figure that turns its back hides its nose and eyes.
        mask: bool (H, W), the pixels where the figure is seen.
    """
    height, width = mask.shape
    x, y = np.floor(points).astype(int).T
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    seen = np.zeros(len(points), dtype=bool)
    seen[inside] = mask[y[inside], x[inside]]
    if not look.faces_viewer:
        seen[:3] = False
    return inside.astype(np.uint8) + (inside & seen)


def mirrored(pose: Pose) -> Pose:
    """The pose with left and right exchanged."""
    return replace(
        pose,
        shoulders=pose.shoulders[::-1],
        elbows=pose.elbows[::-1],
        hips=pose.hips[::-1],
        knees=pose.knees[::-1],
        lean=-pose.lean,
    )


def _parts(points: np.ndarray, look: Look, height: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(P, 2) outline and colour of legs, trunk, arms and head."""
    for side in (0, 1):
        hip, knee, ankle = points[11 + side], points[13 + side], points[15 + side]
        yield _capsule(hip, knee, 0.055 * height, 0.042 * height), look.trousers
        yield _capsule(knee, ankle, 0.042 * height, 0.032 * height), look.trousers
    shoulders, hips = points[5:7], points[11:13]
    torso = np.concatenate([shoulders, hips[::-1]])
    center = torso.mean(axis=0)
    yield center + (torso - center) * 1.18, look.shirt
    neck = shoulders.mean(axis=0)
    head = points[3:5].mean(axis=0)
    yield _capsule(neck, head, 0.035 * height, 0.035 * height), look.skin
    for side in (0, 1):
        shoulder, elbow, wrist = points[5 + side], points[7 + side], points[9 + side]
        yield _capsule(shoulder, elbow, 0.04 * height, 0.034 * height), look.shirt * 0.85
        yield _capsule(elbow, wrist, 0.034 * height, 0.03 * height), look.skin
    yield from _head(points, head, look, height)


def _chain(
    start: tuple[float, float], lengths: tuple[float, float], bends: tuple[float, float]
) -> np.ndarray:
    """(3, 2) joints of a limb on the +x side; the second bend adds to the first."""
    angles = np.cumsum(bends)
    steps = np.asarray(lengths)[:, None] * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return np.concatenate([[start], start + np.cumsum(steps, axis=0)])


def _head(
    points: np.ndarray, center: np.ndarray, look: Look, height: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Hair, and where the figure faces the viewer a face below it."""
    across = (points[3] - points[4]) * (1 if look.faces_viewer else -1)
    angle = float(np.arctan2(across[1], across[0]))
    down = np.array([-np.sin(angle), np.cos(angle)]) * height
    yield _ellipse(center, _HEAD * height, angle), look.trousers * 0.6
    if look.faces_viewer:
        yield _ellipse(center + 0.022 * down, _HEAD * (0.98, 0.8) * height, angle), look.skin
        for eye in points[1:3]:
            yield _ellipse(eye, np.array([0.014, 0.014]) * height, angle), np.full(3, 30, dtype=np.float32)
        yield _ellipse(points[0], np.array([0.010, 0.018]) * height, angle), look.skin * 0.7
        yield _ellipse(center + 0.062 * down, np.array([0.03, 0.01]) * height, angle), look.skin * 0.55


def _ellipse(center: np.ndarray, half_axes: np.ndarray, angle: float) -> np.ndarray:
    turns = np.arange(24) * (2 * np.pi / 24)
    cos, sin = np.cos(angle), np.sin(angle)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return (circle * half_axes) @ np.array([[cos, sin], [-sin, cos]]) + center


def _capsule(start: np.ndarray, end: np.ndarray, start_radius: float, end_radius: float) -> np.ndarray:
    """The outline of a limb with round ends."""
    along = np.arctan2(end[1] - start[1], end[0] - start[0])
    half = np.linspace(-np.pi / 2, np.pi / 2, 9)
    tip = end + end_radius * np.stack([np.cos(along + half), np.sin(along + half)], axis=1)
    tail = start - start_radius * np.stack([np.cos(along + half), np.sin(along + half)], axis=1)
    return np.concatenate([tip, tail])
