"""Masks as COCO run-length encodings: ``{"size": [height, width], "counts": bytes}``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor


@cache
def coco_mask() -> Any:
    """The module ``pycocotools.mask``, whose own types are too narrow for what it takes."""
    return importlib.import_module("pycocotools.mask")


def encode_masks(masks: Tensor) -> list[dict[str, Any]]:
    """(N, H, W) bool masks -> N compressed encodings; one copy and one call for all of them."""
    if not len(masks):
        return []
    # COCO's runs go down the columns, so (N, W, H) in memory is what the encoder reads in place.
    columns = masks.detach().transpose(1, 2).contiguous().cpu().numpy()
    return coco_mask().encode(columns.view(np.uint8).transpose(2, 1, 0))


def decode_mask(rle: dict[str, Any]) -> np.ndarray:
    """A compressed encoding -> (H, W) bool."""
    return coco_mask().decode(rle).astype(bool)


def encode_segmentation(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """One COCO ``segmentation`` of any form, rasterised on (height, width).

    Args:
        segmentation: polygons ``[[x, y, ...], ...]``, whose union counts, or an encoding
            ``{"size", "counts"}`` with counts as a list (plain) or text (compressed).
        height: of the image, pixels.
        width: of the image, pixels.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(segmentation, dict) and not isinstance(segmentation.get("counts"), list):
        if segmentation.get("counts") is None or list(segmentation.get("size", ())) != [height, width]:
            raise ValueError(
                f"expected an encoding of size [{height}, {width}], got {str(segmentation)[:80]}"
            )
        return segmentation
    if isinstance(segmentation, dict):
        return coco_mask().frPyObjects(segmentation, height, width)
    polygons = [np.asarray(polygon, dtype=np.float64).ravel().tolist() for polygon in segmentation or ()]
    if not polygons or any(len(polygon) < 6 for polygon in polygons):
        raise ValueError(f"expected polygons of three points or more, got {str(segmentation)[:80]}")
    return coco_mask().merge(coco_mask().frPyObjects(polygons, height, width))


def json_rle(rle: dict[str, Any]) -> dict[str, Any]:
    """The same encoding with its counts as text, for JSON."""
    counts: Sequence[int] | bytes | str = rle["counts"]
    text = counts.decode("ascii") if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in rle["size"]], "counts": text}
