"""Painting: textures, and anti-aliased polygons that know which pixels they own."""

from __future__ import annotations

from dataclasses import dataclass

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

    Soft clouds of colour, with stripes, checks, dots or nothing on top; ``strength`` is the contrast in
    grey levels.
    """
    cells = int(rng.integers(3, 8))
    clouds = rng.normal(0, 0.5 * strength, (cells, cells, 3)).astype(np.float32)
    surface = base + cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)
    angle, step = rng.uniform(0, np.pi), 2 * np.pi / rng.uniform(6, 18)
    cos, sin = np.float32(step * np.cos(angle)), np.float32(step * np.sin(angle))
    u = x * cos + y * sin + np.float32(rng.uniform(0, 2 * np.pi))
    v = y * cos - x * sin
    kind, tint = int(rng.integers(4)), rng.uniform(0.6, 1.0, 3)
    match kind:
        case 0:
            return surface
        case 1:
            pattern = np.sin(u)
        case 2:
            pattern = np.sign(np.sin(u) * np.sin(v))
        case _:
            pattern = np.where(np.sin(u) * np.sin(v) > 0.55, np.float32(1), np.float32(-0.25))
    return surface + pattern[..., None] * (0.5 * strength * tint).astype(np.float32)


@dataclass(frozen=True)
class Layer:
    """A painted polygon, kept only where it lies inside the picture."""

    window: tuple[slice, slice]  # rows, columns
    alpha: np.ndarray  # (h, w) float32 in 0..1: how much of each pixel of the window it covers
    surface: np.ndarray  # (3,) or (h, w, 3) float32, RGB in 0..255


def window_of(polygons: list[np.ndarray], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a picture that the polygons, (P, 2) each, can touch; empty where they miss it."""
    points = np.concatenate(polygons)
    x1, y1 = np.floor(points.min(axis=0)).astype(int) - 1
    x2, y2 = np.ceil(points.max(axis=0)).astype(int) + 1
    rows = slice(int(np.clip(y1, 0, height)), int(np.clip(y2, 0, height)))
    return rows, slice(int(np.clip(x1, 0, width)), int(np.clip(x2, 0, width)))


def coverage(polygons: list[np.ndarray], window: tuple[slice, slice]) -> np.ndarray:
    """How much of each pixel of ``window`` the polygons cover, float32 (h, w) in 0..1; even-odd rule.

    Coordinates have their origin at the top-left corner of the picture's top-left pixel.
    """
    rows, columns = window
    canvas = np.zeros((rows.stop - rows.start, columns.stop - columns.start), dtype=np.uint8)
    # OpenCV puts the origin in the centre of a pixel.
    corner = np.array([columns.start, rows.start]) + 0.5
    points = [np.round((polygon - corner) * 2**_SUBPIXEL_BITS).astype(np.int32) for polygon in polygons]
    if canvas.size:
        cv2.fillPoly(canvas, points, (255,), lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    return canvas.astype(np.float32) / 255


def flat_layer(polygon: np.ndarray, surface: np.ndarray, height: int, width: int) -> Layer:
    """One polygon of one colour, for a picture of ``height`` by ``width``."""
    window = window_of([polygon], height, width)
    return Layer(window, coverage([polygon], window), surface)


def lay(image: np.ndarray, layers: list[Layer]) -> None:
    """Paint the layers, the last on top, on ``image``, float32 (H, W, 3), in place."""
    for layer in layers:
        below = image[layer.window]
        below += layer.alpha[..., None] * (layer.surface - below)


def covered(layers: list[Layer], height: int, width: int) -> np.ndarray:
    """The pixels of which some layer covers half or more, bool (height, width)."""
    mask = np.zeros((height, width), dtype=bool)
    for layer in layers:
        mask[layer.window] |= layer.alpha >= 0.5
    return mask


def finish(image: np.ndarray, rng: np.random.Generator, grain: float) -> np.ndarray:
    """The picture as a camera would give it: with sensor noise of ``grain`` grey levels, uint8 (H, W, 3)."""
    noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(grain)
    return np.clip(np.round(image + noise), 0, 255).astype(np.uint8)
