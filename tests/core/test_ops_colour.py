"""Colour spaces against published values and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from omma.ops import rgb_to_lab


def test_lab_of_the_primaries():
    rgb = torch.tensor([[1.0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    # http://www.brucelindbloom.com, sRGB under D65
    expected = [
        [100.0, 0, 0],
        [53.24, 80.09, 67.2],
        [87.73, -86.18, 83.18],
        [32.3, 79.19, -107.86],
        [0.0] * 3,
    ]
    found = rgb_to_lab(rgb.T[:, None])[:, 0].T
    torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=0.03)


def test_lab_is_opencvs():
    levels = np.array([0, 1, 5, 10, 40, 128, 200, 254, 255], dtype=np.float32) / 255
    rgb = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    expected = torch.from_numpy(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)).permute(2, 0, 1)
    found = rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1))
    # OpenCV interpolates in a table.
    torch.testing.assert_close(found, expected, rtol=0, atol=0.3)
