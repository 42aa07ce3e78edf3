"""Key points and bones on RGB images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from omma.visualization.palette import class_color

_PARTS = 4  # bits of a pixel that OpenCV draws to
_LEAST = 0.6  # pixels: half the width of the thinnest lines


def draw_skeletons(
    image: np.ndarray, keypoints: np.ndarray, shown: np.ndarray, bones: Sequence[tuple[int, int]]
) -> np.ndarray:
    """The image with a dot for each key point and a line of its own colour for each bone.

    Lines and dots grow with the image, but those of small objects in it stay small.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (N, K, 2) pixels of the image, whole numbers at centres.
        shown: (N, K) bool; key points that aren't shown have no bones either.
        bones: pairs of key points.
    """
    out = np.ascontiguousarray(image).copy()
    # Beyond the image lines are cut; beyond what OpenCV can count they would be anywhere.
    limit = 4 * max(out.shape[:2])
    places = np.clip(keypoints, -limit, limit)
    for points, visible in zip(places, shown):
        if visible.any():
            extent = np.ptp(points[visible], axis=0).max()
            unit = max(_LEAST, min(min(out.shape[:2]) / 200, extent / 50))
            _draw_skeleton(out, points, visible, bones, unit)
    return out


def _draw_skeleton(
    out: np.ndarray, points: np.ndarray, shown: np.ndarray, bones: Sequence[tuple[int, int]], unit: float
) -> None:
    """One object, in place; a line is two units wide."""
    places = np.round(points * 2**_PARTS).astype(np.int64).tolist()
    thickness = max(1, round(2 * unit))
    for i, (a, b) in enumerate(bones):
        if shown[a] and shown[b]:
            cv2.line(out, places[a], places[b], class_color(i), thickness, cv2.LINE_AA, _PARTS)
    for place, seen in zip(places, shown):
        if seen:
            for radius, grey in ((2 * unit, 20), (1.5 * unit, 245)):
                size = round(radius * 2**_PARTS)
                cv2.circle(out, place, size, (grey, grey, grey), cv2.FILLED, cv2.LINE_AA, _PARTS)
