"""Upsampling by predicted kernels (Wang et al., CARAFE: Content-Aware ReAssembly of FEatures, 2019)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.precision import at_least_float32


def carafe(x: Tensor, kernels: Tensor, *, kernel_size: int, scale: int) -> Tensor:
    """Every output pixel as a weighted sum of the source pixels around the one that it lies in.

    Reads zeros outside of the map; summed in float32 or better. With G groups of kernels, each is for C / G
    consecutive channels.

    Args:
        x: (N, C, H, W).
        kernels: (N, G * kernel_size ** 2, scale * H, scale * W), group by group and row by row. They are
            used as they are; the paper's are made to sum to 1 by a softmax.
        kernel_size: of the square kernels, pixels of ``x``; odd.
        scale: output pixels per source pixel and axis.

    Returns:
        (N, C, scale * H, scale * W), of ``x``'s type.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors("carafe", ("x", x, ("N", "C", "H", "W"), "float"))
    n, c, h, w = x.shape
    taps = kernel_size**2
    if kernel_size % 2 == 0:
        raise ValueError(f"carafe: kernel_size must be odd, got {kernel_size}")
    # A wrong number of channels is told as if one group was meant.
    groups = max(kernels.shape[1] // taps, 1) if kernels.ndim == 4 else 1
    if c % groups:
        raise ValueError(f"carafe: {c} channels can't be split into the {groups} groups of the kernels")
    expected = (n, groups * taps, h * scale, w * scale)
    check_tensors("carafe", ("x", x, (n, c, h, w), "float"), ("kernels", kernels, expected, "float"))
    return _CARAFE.kernel(x)(x, kernels, kernel_size, scale)


def _triton(x: Tensor, kernels: Tensor, kernel_size: int, scale: int) -> Tensor:
    from omma.ops.kernels.carafe import carafe as kernel

    return kernel(x, kernels, kernel_size, scale)


def _reference(x: Tensor, kernels: Tensor, kernel_size: int, scale: int) -> Tensor:
    """One small matrix product per source pixel: (channels, taps) by (taps, output pixels within it)."""
    n, c, h, w = x.shape
    taps = kernel_size**2
    groups = kernels.shape[1] // taps
    padded = F.pad(at_least_float32(x), [kernel_size // 2] * 4).permute(0, 2, 3, 1).contiguous()
    around = padded.unfold(1, kernel_size, 1).unfold(2, kernel_size, 1)  # (N, H, W, C, k, k)
    around = around.reshape(n, h, w, groups, c // groups, taps)
    within = kernels.to(padded.dtype).reshape(n, groups, taps, h, scale, w, scale)
    within = within.permute(0, 3, 5, 1, 2, 4, 6).reshape(n, h, w, groups, taps, scale**2)
    out = (around @ within).reshape(n, h, w, c, scale, scale)
    return out.permute(0, 3, 1, 4, 2, 5).reshape(n, c, h * scale, w * scale).to(x.dtype)


_CARAFE = Operator("carafe", triton=_triton, reference=_reference)
