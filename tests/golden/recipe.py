"""The weights and pictures that the golden files were made with: functions of names and shapes."""

from __future__ import annotations

import zlib

import numpy as np


def generator(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))


def fill(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Value of the parameter or running statistic ``name``, float32."""
    noise = generator(name).standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)
    if name.endswith("running_mean"):
        return 0.1 * noise
    if name.endswith("running_var"):
        return 1.0 + 0.1 * np.abs(noise)
    if name.endswith("init_proposal_bboxes.weight"):
        return 0.5 + 0.05 * noise
    if len(shape) >= 2:
        return noise / np.float32(np.sqrt(int(np.prod(shape[1:]))))
    if name.endswith("weight") or not shape:
        return 1.0 + 0.1 * noise
    return 0.1 * noise


def picture(shape: tuple[int, int, int]) -> np.ndarray:
    """(C, H, W) uint8: blocks of 16 pixels plus noise."""
    channels, height, width = shape
    rng = np.random.RandomState(1)
    blocks = rng.randint(0, 256, (channels, -(-height // 16), -(-width // 16)))
    tiled = np.repeat(np.repeat(blocks, 16, axis=1), 16, axis=2)[:, :height, :width]
    return np.clip(tiled + rng.randint(-20, 21, (channels, height, width)), 0, 255).astype(np.uint8)
