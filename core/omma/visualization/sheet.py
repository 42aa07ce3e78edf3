"""Many pictures on one."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np


def contact_sheet(images: Sequence[np.ndarray], *, columns: int, width: int, gap: int = 6) -> np.ndarray:
    """Pictures of any sizes in rows, each as large as its cell allows.

    Args:
        images: (H, W, 3) uint8 RGB each.
        columns: pictures per row.
        width: of the sheet, pixels.
        gap: between pictures, pixels.

    Returns:
        (H, width, 3) uint8 RGB on white; a row is as high as its highest picture.

    Raises:
        ValueError: no image, or no room for a column.
    """
    cell = (width - gap * (columns + 1)) // columns if columns > 0 else 0
    if not images or cell < 1:
        raise ValueError(
            f"expected images and a column of a pixel or more, got {len(images)} images, "
            f"{columns} columns of {cell} pixels"
        )
    # Tall pictures would make a row of mostly white.
    shrunk = [_fit(image, cell, round(cell * 1.25)) for image in images]
    rows = [shrunk[start : start + columns] for start in range(0, len(shrunk), columns)]
    heights = [max(image.shape[0] for image in row) for row in rows]
    sheet = np.full((sum(heights) + gap * (len(rows) + 1), width, 3), 255, dtype=np.uint8)
    y = gap
    for row, height in zip(rows, heights):
        for column, image in enumerate(row):
            x = gap + column * (cell + gap) + (cell - image.shape[1]) // 2
            top = y + (height - image.shape[0]) // 2
            sheet[top : top + image.shape[0], x : x + image.shape[1]] = image
        y += height + gap
    return sheet


def _fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    factor = min(width / image.shape[1], height / image.shape[0])
    size = (
        max(1, min(width, round(image.shape[1] * factor))),
        max(1, min(height, round(image.shape[0] * factor))),
    )
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
