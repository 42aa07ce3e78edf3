"""Key points and bones on RGB images."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from omma.visualization.palette import class_color

_PARTS = 4  # bits of a pixel that OpenCV draws to


def draw_skeletons(
    image: np.ndarray, keypoints: np.ndarray, shown: np.ndarray, bones: Sequence[tuple[int, int]]
) -> np.ndarray:
    """The image with a dot for each key point and a line of its own colour for each bone.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: (N, K, 2) pixels of the image, whole numbers at centres.
        shown: (N, K) bool; key points that aren't shown have no bones either.
        bones: pairs of key points.
    """
    out = np.ascontiguousarray(image).copy()
    width = max(1, round(min(out.shape[:2]) / 200))
    # Beyond the image lines are cut; beyond what OpenCV can count they would be anywhere.
    limit = 4 * max(out.shape[:2])
    places = np.round(np.clip(keypoints, -limit, limit) * 2**_PARTS).astype(np.int64)
    for points, visible in zip(places, shown):
        for i, (a, b) in enumerate(bones):
            if visible[a] and visible[b]:
                ends = points[a].tolist(), points[b].tolist()
                cv2.line(out, *ends, class_color(i), 2 * width, cv2.LINE_AA, _PARTS)
        for (x, y), seen in zip(points.tolist(), visible):
            if seen:
                cv2.circle(out, (x, y), (2 * width) << _PARTS, (20, 20, 20), cv2.FILLED, cv2.LINE_AA, _PARTS)
                cv2.circle(
                    out, (x, y), (3 * width) << (_PARTS - 1), (245, 245, 245), cv2.FILLED, cv2.LINE_AA, _PARTS
                )
    return out
