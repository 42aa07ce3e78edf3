"""Outlines of the shapes: closed polygons around the origin, at most 1 away from it."""

from __future__ import annotations

import numpy as np

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
"""Names of the shapes; the category id of ``SHAPES[i]`` is ``i + 1``."""


def outline(shape: str, rng: np.random.Generator) -> list[np.ndarray]:
    """Closed polygons, float64 (P, 2) each, of one ``shape`` in its upright pose.

    A second polygon is a hole. Proportions (the width of a ring or cross, the spikes of a star) vary with
    ``rng``.

    Raises:
        ValueError: ``shape`` is not one of ``SHAPES``.
    """
    match shape:
        case "circle":
            return [_circle(1.0)]
        case "square":
            return [_regular(4, phase=np.pi / 4)]
        case "triangle":
            return [_regular(3, phase=-np.pi / 2)]
        case "star":
            return [_star(rng.uniform(0.40, 0.52))]
        case "ring":
            return [_circle(1.0), _circle(rng.uniform(0.45, 0.62))]
        case "cross":
            return [_cross(rng.uniform(0.26, 0.36))]
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")


def place(
    polygons: list[np.ndarray], *, center: tuple[float, float], radius: float, aspect: float, angle: float
) -> list[np.ndarray]:
    """The polygons in image pixels: squeezed to ``aspect`` (y to x), turned by ``angle`` radians, moved."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, sin], [-sin, cos]])
    stretch = radius * np.array([1.0, aspect])
    return [(polygon * stretch) @ turn + np.asarray(center) for polygon in polygons]


def _circle(radius: float) -> np.ndarray:
    return radius * _regular(48, phase=0.0)


def _regular(corners: int, phase: float) -> np.ndarray:
    angles = phase + np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star(inner: float) -> np.ndarray:
    radii = np.where(np.arange(10) % 2 == 0, 1.0, inner)
    return radii[:, None] * _regular(10, phase=-np.pi / 2)


def _cross(half: float) -> np.ndarray:
    w = half
    corners = [(-w, -1), (w, -1), (w, -w), (1, -w), (1, w), (w, w)]
    corners += [(-x, -y) for x, y in corners]
    return np.array(corners, dtype=np.float64) / np.hypot(1.0, w)
