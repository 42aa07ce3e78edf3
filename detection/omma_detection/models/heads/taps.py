"""Where the taps of a kernel lie, for heads that place them on boxes."""

from __future__ import annotations

import torch
from torch import Tensor


def kernel_taps(size: int, like: Tensor) -> Tensor:
    """(y, x) of each tap of a square kernel of odd ``size`` from its centre, row by row: (1, 2 size^2, 1, 1).

    The dtype and device are those of ``like``.
    """
    places = torch.arange(size, dtype=like.dtype, device=like.device) - size // 2
    y, x = torch.meshgrid(places, places, indexing="ij")
    return torch.stack([y, x], dim=-1).reshape(1, -1, 1, 1)


def scale_gradient(x: Tensor, share: float) -> Tensor:
    """``x`` itself, of whose gradient only ``share`` passes."""
    return share * x + (1 - share) * x.detach()


def spanning_offsets(boxes: Tensor, size: tuple[int, int], stride: int, kernel: int = 3) -> Tensor:
    """Offsets that spread the taps of a kernel evenly over a box, the outer ones on its sides.

    Args:
        boxes: (N, H * W, 4) xyxy, pixels, one for each position of a map, row by row.
        size: (H, W) of the map.
        stride: pixels per position.
        kernel: side of the square kernel, odd.

    Returns:
        (N, 2 kernel^2, H, W), (y, x) of each tap from where an ordinary convolution's lies, positions.
    """
    boxes = (boxes / stride).transpose(1, 2).unflatten(2, size)  # (N, 4, H, W)
    y, x = torch.meshgrid(*(torch.arange(n, device=boxes.device) for n in size), indexing="ij")
    centre = (boxes[:, :2] + boxes[:, 2:]).flip(1) / 2 - torch.stack([y, x])
    spacing = (boxes[:, 2:] - boxes[:, :2]).flip(1) / (kernel - 1) - 1
    taps = kernel**2
    return centre.repeat(1, taps, 1, 1) + spacing.repeat(1, taps, 1, 1) * kernel_taps(kernel, boxes)
