"""Colour spaces."""

from __future__ import annotations

import torch
from torch import Tensor

_XYZ_OF_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
"""Of linear sRGB (ITU-R BT.709 primaries)."""
_WHITE = (0.95047, 1.0, 1.08883)
"""XYZ of the illuminant D65."""


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """CIELAB of sRGB, under the illuminant D65.

    Args:
        rgb: (..., 3, H, W) in 0..1.

    Returns:
        (..., 3, H, W): L in 0..100, and a and b.
    """
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.einsum("ij,...jhw->...ihw", rgb.new_tensor(_XYZ_OF_RGB), linear)
    share = xyz / rgb.new_tensor(_WHITE)[:, None, None]
    # A cube root, with its tangent near black.
    root, tangent = share.clamp(min=1e-6) ** (1 / 3), 7.787 * share + 16 / 116
    x, y, z = torch.where(share > 0.008856, root, tangent).unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)
