"""Painting: textures, and anti-aliased polygons that know which pixels they own."""

from __future__ import annotations

import cv2
import numpy as np

_SUBPIXEL_BITS = 4


def colour(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB in 0..255, float32 (3,), of a hue (one turn is 1; wraps), saturation and value in 0..1."""
    sector = (hue % 1.0) * 6
    offsets = (np.array([5.0, 3.0, 1.0]) + sector) % 6
    ramp = np.clip(np.minimum(offsets, 4 - offsets), 0, 1)
    return (255 * value * (1 - saturation * ramp)).astype(np.float32)


def texture(
    rng: np.random.Generator, height: int, width: int, base: np.ndarray, strength: float
) -> np.ndarray:
    """A patterned surface, float32 (height, width, 3) RGB, whose mean colour is about ``base``.

    Soft clouds of colour with stripes, checks, dots or nothing on top; ``strength`` is the contrast in
    grey levels.
    """
    cells = int(rng.integers(3, 8))
    clouds = rng.normal(0, 0.5 * strength, (cells, cells, 3)).astype(np.float32)
    surface = base + cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(6, 18)
    u = (x * np.cos(angle) + y * np.sin(angle)) * (2 * np.pi / period) + rng.uniform(0, 2 * np.pi)
    v = (y * np.cos(angle) - x * np.sin(angle)) * (2 * np.pi / period)
    patterns = (
        lambda: np.zeros_like(u),
        lambda: np.sin(u),
        lambda: np.sign(np.sin(u) * np.sin(v)),
        lambda: np.where(np.sin(u) * np.sin(v) > 0.55, 1.0, -0.25),
    )
    pattern = patterns[int(rng.integers(len(patterns)))]()
    tint = rng.uniform(0.6, 1.0, 3)
    return (surface + 0.5 * strength * pattern[..., None] * tint).astype(np.float32)


def coverage(polygons: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """How much of each pixel the polygons cover, float32 (height, width) in 0..1; even-odd rule.

    Coordinates have their origin at the top-left corner of the top-left pixel.
    """
    canvas = np.zeros((height, width), dtype=np.uint8)
    # OpenCV puts the origin in the centre of a pixel.
    points = [np.round((polygon - 0.5) * 2**_SUBPIXEL_BITS).astype(np.int32) for polygon in polygons]
    cv2.fillPoly(canvas, points, (255,), lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return canvas.astype(np.float32) / 255


def blend(image: np.ndarray, surface: np.ndarray, alpha: np.ndarray) -> None:
    """Lay ``surface``, (H, W, 3) or (3,), over ``image``, float32 (H, W, 3), in place."""
    image += alpha[..., None] * (surface - image)


def finish(image: np.ndarray, rng: np.random.Generator, grain: float) -> np.ndarray:
    """The picture as a camera would give it: with sensor noise of ``grain`` grey levels, uint8 (H, W, 3)."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(grain)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)
