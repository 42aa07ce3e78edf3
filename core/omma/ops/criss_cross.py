"""Criss-cross attention (Huang et al., CCNet, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator


def criss_cross_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each pixel to those of its row and its column, itself once.

    Args:
        query: (N, K, H, W); products with ``key`` are not scaled.
        key: (N, K, H, W).
        value: (N, C, H, W).

    Returns:
        (N, C, H, W).

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors(
        "criss_cross_attention",
        ("query", query, ("N", "K", "H", "W"), "float"),
        ("key", key, ("N", "K", "H", "W"), "float"),
        ("value", value, ("N", "C", "H", "W"), "float"),
    )
    return _CRISS_CROSS.kernel(query)(query, key, value)


def _reference(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    height = query.shape[2]
    column = query.permute(0, 3, 2, 1) @ key.permute(0, 3, 1, 2)  # (N, W, H, H)
    # The pixel itself is counted in its row.
    itself = torch.eye(height, dtype=torch.bool, device=query.device)
    column = column.masked_fill(itself, -torch.inf).transpose(1, 2)
    row = query.permute(0, 2, 3, 1) @ key.permute(0, 2, 1, 3)  # (N, H, W, W)
    shares = torch.cat([column, row], -1).softmax(-1).to(value.dtype)
    in_column, in_row = shares[..., :height], shares[..., height:]
    out = in_row @ value.permute(0, 2, 3, 1)  # (N, H, W, C)
    out = out + (in_column.transpose(1, 2) @ value.permute(0, 3, 2, 1)).transpose(1, 2)
    return out.permute(0, 3, 1, 2)


_CRISS_CROSS = Operator("criss_cross_attention", reference=_reference)
