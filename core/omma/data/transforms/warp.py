"""Affine maps of samples: what is drawn, and the objects on it."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms.base import cut_outlines, wrap
from omma.data.transforms.crop import drop_outside
from omma.structures import IGNORED, Polygons, Sample


def warp_pixels(
    image: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    *,
    fill: int | tuple[int, int, int] = 0,
    flags: int = cv2.INTER_LINEAR,
) -> np.ndarray:
    """An image (H, W, ...) on a canvas of ``size`` (H, W), with ``fill`` beside it.

    Args:
        image: uint8.
        matrix: (2, 3), from xy coordinates in the frame of boxes to such; the first pixel's centre is at 0.5.
        size: of the result.
        fill: one level, or one for each channel.
        flags: OpenCV's way to interpolate.
    """
    # OpenCV's coordinates are 0 at the centre of the first pixel.
    centres = np.concatenate([matrix[:, :2], matrix @ [[0.5], [0.5], [1]] - 0.5], axis=1)
    levels = (fill,) * 3 if isinstance(fill, int) else fill
    return cv2.warpAffine(image, centres, (size[1], size[0]), flags=flags, borderValue=levels)


def warp_objects(sample: Sample, matrix: np.ndarray, size: tuple[int, int]) -> Sample:
    """Everything spatial but the image; boxes go around what they held, cut to the canvas.

    Instances without area left are dropped. Beside the old image semantic maps have IGNORED.

    Args:
        sample: what to change.
        matrix: as in ``warp_pixels``.
        size: (H, W) of the new canvas.
    """
    move = torch.tensor(matrix, dtype=torch.float32)
    out: dict[str, Any] = dict(cut_outlines(sample))
    for key, value in out.items():
        if isinstance(value, tv_tensors.BoundingBoxes):
            out[key] = wrap(_around(value.as_subclass(Tensor), move, size), like=value, canvas_size=size)
        elif isinstance(value, tv_tensors.KeyPoints):
            out[key] = wrap(_moved(value.as_subclass(Tensor), move), like=value, canvas_size=size)
        elif isinstance(value, Polygons):
            out[key] = Polygons.wrap(_moved(value.as_subclass(Tensor), move), value, canvas_size=size)
        elif isinstance(value, tv_tensors.Mask):
            fill = IGNORED if key == "semantic" else 0
            out[key] = tv_tensors.Mask(_masks(value.as_subclass(Tensor), matrix, size, fill))
    return drop_outside(cast(Sample, out))


def _moved(points: Tensor, matrix: Tensor) -> Tensor:
    return points @ matrix[:, :2].T + matrix[:, 2]


def _around(boxes: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """The smallest boxes around the moved corners of boxes (N, 4), cut to ``size``."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = _moved(corners, matrix)
    limit = boxes.new_tensor([float(size[1]), float(size[0])])
    low, high = moved.amin(dim=1).clamp(min=0).minimum(limit), moved.amax(dim=1).clamp(min=0).minimum(limit)
    return torch.cat([low, high], dim=1)


def _masks(masks: Tensor, matrix: np.ndarray, size: tuple[int, int], fill: int) -> Tensor:
    """Bitmaps (..., H, W) uint8, nearest neighbour."""
    bitmaps = masks.numpy().reshape(-1, *masks.shape[-2:])
    out = np.empty((len(bitmaps), *size), np.uint8)
    for target, bitmap in zip(out, bitmaps, strict=True):
        target[:] = warp_pixels(bitmap, matrix, size, fill=fill, flags=cv2.INTER_NEAREST)
    return torch.from_numpy(out.reshape(*masks.shape[:-2], *size))
