"""Masks as COCO run-length encodings: ``{"size": [height, width], "counts": bytes}``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from omma.ops.masks import coco_mask


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
