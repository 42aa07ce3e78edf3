"""Convolution where a mask asks for it (Wang et al., Guided Anchoring, 2019)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import Kind, Shape, check_tensors
from omma.ops.backend import Operator

_FEW = 0.2
"""Share of the positions up to which it is faster to compute them one by one."""


def masked_conv2d(
    x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None = None, *, padding: int = 0
) -> Tensor:
    """A convolution of stride 1 that is computed where the mask is true, and 0 elsewhere.

    Args:
        x: (N, C, H, W).
        mask: (N, H', W'), bool.
        weight: (C', C, kh, kw).
        bias: (C',).
        padding: pixels.

    Returns:
        (N, C', H', W') with H' = H + 2 * padding - kh + 1.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors(
        "masked_conv2d",
        ("x", x, ("N", "C", "H", "W"), "float"),
        ("weight", weight, ("C'", "C", "kh", "kw"), "float"),
    )
    n, c, *size = x.shape
    out = [side + 2 * padding - k + 1 for side, k in zip(size, weight.shape[2:])]
    others: list[tuple[str, Tensor, Shape, Kind]] = [("mask", mask, (n, *out), "bool")]
    if bias is not None:
        others.append(("bias", bias, (weight.shape[0],), "float"))
    check_tensors("masked_conv2d", ("x", x, (n, c, *size), "float"), *others)
    return _MASKED_CONV2D.kernel(x)(x, mask, weight, bias, padding)


def _at_places(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    # Tracing can't follow how many places there are.
    if torch.compiler.is_compiling() or mask.sum() > _FEW * mask.numel():
        return _reference(x, mask, weight, bias, padding)
    n, c = x.shape[:2]
    c_out, _, kh, kw = weight.shape
    image, row, column = mask.nonzero(as_tuple=True)
    patches = F.pad(x, [padding] * 4).unfold(2, kh, 1).unfold(3, kw, 1)  # a view: (N, C, H', W', kh, kw)
    patches = patches.permute(0, 2, 3, 1, 4, 5)[image, row, column].reshape(len(image), c * kh * kw)
    values = F.linear(patches, weight.reshape(c_out, c * kh * kw), bias)
    out = values.new_zeros(n, *mask.shape[1:], c_out).index_put((image, row, column), values)
    return out.permute(0, 3, 1, 2)


def _reference(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    out = F.conv2d(x, weight, bias, padding=padding)
    return torch.where(mask[:, None], out, 0)


_MASKED_CONV2D = Operator("masked_conv2d", pytorch=_at_places, reference=_reference)
