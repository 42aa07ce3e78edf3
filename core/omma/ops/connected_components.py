"""Connected components of masks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator


def connected_components(masks: Tensor, *, diagonal: bool = True) -> Tensor:
    """Number the connected components of each mask.

    Args:
        masks: (..., H, W) bool or integer, non-zero inside.
        diagonal: whether pixels that touch at a corner are connected.

    Returns:
        (..., H, W) int64: 0 outside, and 1, 2, ... in the order of the components' first pixels, row by row.

    Raises:
        ValueError: the masks have fewer than two axes or are complex numbers.
    """
    check_tensors("connected_components", ("masks", masks, (..., "H", "W"), "any"))
    flat = (masks != 0).reshape(-1, *masks.shape[-2:])
    return _COMPONENTS.kernel(masks)(flat, diagonal).reshape(masks.shape)


@torch.library.custom_op("omma::connected_components_reference", mutates_args=())
def _reference(masks: Tensor, diagonal: bool) -> Tensor:
    count, height, width = masks.shape
    area = height * width
    if masks.numel() == 0:
        return masks.long()
    # Every pixel starts as its own root, and takes the least root around it; then each root is replaced by
    # its own root, so that labels travel in leaps instead of pixel by pixel.
    outside = area
    root = torch.arange(area, device=masks.device).expand(count, -1).clone()
    root = torch.where(masks.flatten(1), root, outside)
    while True:
        around = _least_around(root.view(count, height, width), diagonal, outside).flatten(1)
        least = torch.where(masks.flatten(1), around, outside)
        padded = F.pad(least, (0, 1), value=outside)
        least = padded.gather(1, padded)[:, :-1]
        if torch.equal(least, root):
            break
        root = least
    first = root == torch.arange(area, device=masks.device)
    number = F.pad(first.long().cumsum(1), (0, 1))
    number = number.gather(1, root)
    return torch.where(masks, number.view(masks.shape), 0)


def _least_around(root: Tensor, diagonal: bool, outside: int) -> Tensor:
    """The least of each pixel (N, H, W) and its neighbours."""
    padded = F.pad(root, (1, 1, 1, 1), value=outside)
    rows = torch.minimum(torch.minimum(padded[:, :-2], padded[:, 1:-1]), padded[:, 2:])
    if diagonal:
        return torch.minimum(torch.minimum(rows[:, :, :-2], rows[:, :, 1:-1]), rows[:, :, 2:])
    middle = padded[:, 1:-1]
    return torch.minimum(torch.minimum(middle[:, :, :-2], rows[:, :, 1:-1]), middle[:, :, 2:])


@torch.library.custom_op("omma::connected_components_numpy", mutates_args=())
def _numpy(masks: Tensor, diagonal: bool) -> Tensor:
    from scipy import ndimage

    plane = np.ones((3, 3), bool) if diagonal else ndimage.generate_binary_structure(2, 1)
    # Neighbours lie in the same image only, so that one call serves the whole batch.
    structure = np.stack([np.zeros_like(plane), plane, np.zeros_like(plane)])
    labels = np.zeros(masks.shape, np.int64)
    if masks.numel():
        ndimage.label(masks.numpy(), structure, output=labels)
    return torch.from_numpy(_renumber(labels))


def _renumber(labels: np.ndarray) -> np.ndarray:
    """Labels (N, H, W), unique over the batch, as 1, 2, ... of each image in the order of first pixels."""
    found, first = np.unique(labels, return_index=True)
    found, first = found[found > 0], first[found > 0]
    order = first.argsort()
    image = first[order] // max(labels[0].size, 1) if len(labels) else first
    rank = np.arange(len(order)) - np.searchsorted(image, image) + 1
    table = np.zeros(int(found.max(initial=0)) + 1, np.int64)
    table[found[order]] = rank
    return table[labels]


@_reference.register_fake
def _(masks: Tensor, diagonal: bool) -> Tensor:
    return masks.new_empty(masks.shape, dtype=torch.int64)


@_numpy.register_fake
def _(masks: Tensor, diagonal: bool) -> Tensor:
    return masks.new_empty(masks.shape, dtype=torch.int64)


_COMPONENTS = Operator("connected_components", numpy=_numpy, reference=_reference)
