"""Masks as pixels, run lengths, boxes and outlines, for whole batches.

A run-length encoding is COCO's ``{"size": [height, width], "counts": bytes}``. Outlines to masks is
``omma.structures.Polygons.rasterise``.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.structures.polygons import Polygons


@cache
def coco_mask() -> Any:
    """The module ``pycocotools.mask``, whose own types are too narrow for what it takes."""
    return importlib.import_module("pycocotools.mask")


def encode_masks(masks: Tensor) -> list[dict[str, Any]]:
    """(N, H, W) bool or uint8 masks -> N compressed encodings; one copy and one call for all of them.

    Raises:
        ValueError: the shape or dtype isn't as above, here and below.
    """
    _check("encode_masks", masks)
    if not len(masks):
        return []
    # COCO's runs go down the columns, so (N, W, H) in memory is what the encoder reads in place.
    columns = masks.detach().transpose(1, 2).contiguous().cpu().numpy()
    return coco_mask().encode(columns.view(np.uint8).transpose(2, 1, 0))


def decode_masks(encodings: Sequence[dict[str, Any]], size: tuple[int, int]) -> Tensor:
    """N compressed encodings of masks of one ``size`` (height, width) -> (N, H, W) bool on the CPU.

    Raises:
        ValueError: an encoding is of another size.
    """
    if wrong := [e["size"] for e in encodings if tuple(e["size"]) != tuple(size)]:
        raise ValueError(f"decode_masks: encodings must be of size {list(size)}, got {list(wrong[0])}")
    if not encodings:
        return torch.zeros(0, *size, dtype=torch.bool)
    decoded = coco_mask().decode(list(encodings))  # (H, W, N), columns first in memory
    return torch.from_numpy(decoded.view(np.bool_)).permute(2, 0, 1)


def masks_to_boxes(masks: Tensor) -> Tensor:
    """(..., H, W) bool or uint8 -> (..., 4) float32 xyxy boxes around the pixels.

    A box reaches to the outer edges of its last pixels. That of an empty mask is zeros.
    """
    check_tensors("masks_to_boxes", ("masks", masks, (..., "H", "W"), "any"))
    on = masks != 0
    bounds = []
    for axis in (-2, -1):
        line = on.any(axis)
        place = torch.arange(1, line.shape[-1] + 1, device=masks.device)
        last = torch.where(line, place, 0).amax(-1)
        first = torch.where(line, place - 1, line.shape[-1]).amin(-1)
        bounds += [torch.minimum(first, last), last]
    x1, x2, y1, y2 = bounds
    return torch.stack([x1, y1, x2, y2], -1).float()


def mask_centres(masks: Tensor) -> Tensor:
    """(N, H, W) bool or uint8 -> (N, 2) float32 means of the pixels' columns and rows, counted from 0.

    Those of an empty mask are not-a-number.
    """
    _check("mask_centres", masks)
    area = masks.sum(dim=(1, 2))
    means = []
    for axis in (1, 2):
        line = masks.sum(dim=axis)
        means.append((line * torch.arange(line.shape[1], device=masks.device)).sum(dim=1) / area)
    return torch.stack(means, dim=1)


def pairwise_mask_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU (A, B) float32 of masks (A, H, W) and (B, H, W), bool or uint8 of zeros and ones."""
    check_tensors("pairwise_mask_iou", ("a", a, ("A", "H", "W"), "any"), ("b", b, ("B", "H", "W"), "any"))
    with torch.autocast(a.device.type, enabled=False):
        # Counts are exact in float32 up to 2^24 pixels.
        flat_a, flat_b = a.flatten(1).float(), b.flatten(1).float()
        inter = flat_a @ flat_b.T
        union = flat_a.sum(1)[:, None] + flat_b.sum(1) - inter
        return inter / union.clamp(min=1)


def masks_to_polygons(masks: Tensor) -> Polygons:
    """Outlines along the pixel edges of (N, H, W) bool or uint8 masks; their holes are filled.

    Rasterising them gives the masks again, where these have no holes.
    """
    _check("masks_to_polygons", masks)
    rings = [outlines(mask)[0] for mask in masks.detach().cpu().numpy()]
    flat = [ring for own in rings for ring in own]
    return Polygons(
        np.concatenate(flat) if flat else np.empty((0, 2), np.float32),
        ring_sizes=[len(ring) for ring in flat],
        rings_per_instance=[len(own) for own in rings],
        canvas_size=(masks.shape[1], masks.shape[2]),
    )


def outlines(mask: np.ndarray) -> tuple[list[np.ndarray], bool]:
    """Outer rings (V, 2) int along the pixel edges of a mask (H, W), and whether it has a hole."""
    # Contours run through pixel centres. In a threefold enlargement those lie a third beside the edges, so
    # that rounding puts them on the edges, diagonal steps at inner corners included.
    grown = mask.astype(np.uint8).repeat(3, axis=0).repeat(3, axis=1)
    contours, hierarchy = cv2.findContours(grown, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) == 0:
        return [], False
    parents = np.asarray(hierarchy)[0, :, 3]
    rings = []
    for contour, parent in zip(contours, parents):
        if parent < 0:
            points = (contour[:, 0] + 1) // 3
            rings.append(points[(points != np.roll(points, 1, axis=0)).any(axis=1)])
    return rings, bool((parents >= 0).any())


def _check(op: str, masks: Tensor) -> None:
    check_tensors(op, ("masks", masks, ("N", "H", "W"), "any"))
    if masks.dtype not in (torch.bool, torch.uint8):
        raise ValueError(f"{op}: masks must be bool or uint8, got {str(masks.dtype).removeprefix('torch.')}")
