"""Masks of point-wise spatial attention (Zhao et al., PSANet, 2018)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator


def psa_mask(x: Tensor, *, size: tuple[int, int], mode: Literal["collect", "distribute"]) -> Tensor:
    """Attention that each pixel predicts for its surroundings, as attention between all pairs of pixels.

    Pairs that lie further apart than half a mask get 0.

    Args:
        x: (N, h * w, H, W): at each pixel a mask of ``size``, row by row, centred on the pixel.
        size: height h and width w of the masks; (2H - 1, 2W - 1) reaches all pairs. Of an even side the
            centre is the first of the middle two.
        mode: the pixel that predicts is the one that collects from the others, or that distributes to them.

    Returns:
        (N, H * W, H, W): channel j of pixel i is what i's mask has at j (``collect``) or j's mask at i
        (``distribute``).

    Raises:
        ValueError: wrong shape, dtype or mode.
    """
    if mode not in ("collect", "distribute"):
        raise ValueError(f"psa_mask: mode must be collect or distribute, got {mode!r}")
    check_tensors("psa_mask", ("x", x, ("N", size[0] * size[1], "H", "W"), "float"))
    return _PSA_MASK.kernel(x)(x, size, mode)


def _reference(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    n, _, h, w = x.shape
    rows = torch.arange(h * w, device=x.device) // w
    columns = torch.arange(h * w, device=x.device) % w
    down = rows[:, None] - rows + (size[0] - 1) // 2  # (other, predicting), place in the mask
    right = columns[:, None] - columns + (size[1] - 1) // 2
    inside = (down >= 0) & (down < size[0]) & (right >= 0) & (right < size[1])
    index = torch.where(inside, down * size[1] + right, 0).expand(n, -1, -1)
    pairs = torch.where(inside, x.flatten(2).gather(1, index), 0)
    return (pairs if mode == "collect" else pairs.transpose(1, 2)).reshape(n, h * w, h, w)


_PSA_MASK = Operator("psa_mask", reference=_reference)
