"""Cases of the operators on regions."""

from __future__ import annotations

import math
from typing import Any

import torch
import torchvision
from torch import Tensor

from omma.ops import point_sample, ps_roi_align, roi_align, roi_align_rotated, roi_pool, simple_roi_align

from .cases import Case, Inputs, random_boxes

HEIGHT, WIDTH = 7, 9


def features(generator: torch.Generator, channels: int = 3) -> Tensor:
    return torch.randn(2, channels, HEIGHT, WIDTH, generator=generator, dtype=torch.float64)


def regions(count: int, generator: torch.Generator) -> Inputs:
    """Of images whose pixels are a quarter of the features', some beyond the border."""
    image = torch.randint(0, 2, (count, 1), generator=generator).double()
    boxes = random_boxes(count, generator, extent=30) - 4
    return {"features": features(generator), "rois": torch.cat([image, boxes], 1)}


def many_channels(count: int, generator: torch.Generator) -> Inputs:
    return regions(count, generator) | {"features": features(generator, 8)}


def turned(count: int, generator: torch.Generator) -> Inputs:
    rois = regions(count, generator)["rois"]
    angle = 6 * torch.rand(count, 1, generator=generator, dtype=torch.float64) - 3
    # Corners are as good as a centre and sides once they are no smaller than a pixel.
    rois[:, 3:] = rois[:, 3:].abs() + 2
    return {"features": features(generator), "rois": torch.cat([rois, angle], 1)}


def points(count: int, generator: torch.Generator) -> Inputs:
    places = 1.2 * torch.rand(2, count, 2, generator=generator, dtype=torch.float64) - 0.1
    return {"features": features(generator), "points": places}


def hard() -> list[Inputs]:
    """No area, on a line, inside out, far outside, and much larger than the image."""
    boxes = [[0, 8, 8, 8, 8], [1, 8, 2, 8, 20], [0, 20, 20, 10, 10], [1, 900, 900, 990, 990]]
    boxes.append([0, -100, -100, 150, 150])
    maps = features(torch.Generator().manual_seed(1))
    return [{"features": maps, "rois": torch.tensor(boxes, dtype=torch.float64)}]


def read(image: Tensor, y: float, x: float, *, zeros: bool) -> Tensor:
    """Values (C,) at a place; beyond the outermost centres the border's, or else fading to zero."""
    _, height, width = image.shape
    if not zeros:
        if not (-1 <= y <= height and -1 <= x <= width):
            return image.new_zeros(image.shape[0])
        y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    total = image.new_zeros(image.shape[0])
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                total = total + image[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def rotated(features: Tensor, rois: Tensor, *, size: tuple[int, int], scale: float, **how: Any) -> Tensor:
    out = features.new_zeros(len(rois), features.shape[1], *size)
    for r, (image, x, y, w, h, angle) in enumerate(rois.tolist()):
        w, h = w * scale, h * scale
        counts = [how["sampling_ratio"] or math.ceil(side / n) for side, n in zip((h, w), size)]
        for i in range(size[0] * counts[0]):
            for j in range(size[1] * counts[1]):
                v, u = (
                    ((i + 0.5) / counts[0] / size[0] - 0.5) * h,
                    ((j + 0.5) / counts[1] / size[1] - 0.5) * w,
                )
                px = x * scale - 0.5 + u * math.cos(angle) - v * math.sin(angle)
                py = y * scale - 0.5 + u * math.sin(angle) + v * math.cos(angle)
                value = read(features[int(image)], py, px, zeros=False)
                out[r, :, i // counts[0], j // counts[1]] += value / counts[0] / counts[1]
    return out


def at_points(features: Tensor, points: Tensor) -> Tensor:
    out = features.new_zeros(2, features.shape[1], points.shape[1])
    for n in range(2):
        for p, (x, y) in enumerate(points[n].tolist()):
            out[n, :, p] = read(features[n], y * HEIGHT - 0.5, x * WIDTH - 0.5, zeros=True)
    return out


def at_centres(features: Tensor, rois: Tensor, *, size: int, scale: float) -> Tensor:
    out = features.new_zeros(len(rois), features.shape[1], size, size)
    for r, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        for i in range(size):
            for j in range(size):
                y = (y1 + (i + 0.5) / size * (y2 - y1)) * scale - 0.5
                x = (x1 + (j + 0.5) / size * (x2 - x1)) * scale - 0.5
                out[r, :, i, j] = read(features[int(image)], y, x, zeros=True)
    return out


def align(features: Tensor, rois: Tensor, *, size: Any, scale: float, **how: Any) -> Tensor:
    return torchvision.ops.roi_align(features, rois, size, scale, **how)


def pool(features: Tensor, rois: Tensor, *, size: Any, scale: float) -> Tensor:
    return torchvision.ops.roi_pool(features, rois, size, scale)


def position_sensitive(features: Tensor, rois: Tensor, *, size: int, scale: float, **how: Any) -> Tensor:
    return torchvision.ops.ps_roi_align(features, rois, size, scale, **how)


def region_case(op: str, function: Any, truth: Any, note: str = "", **fields: Any) -> Case:
    defaults: dict[str, Any] = {"make": regions, "differentiable": ("features",), "half": ("features",)}
    return Case(op=op, function=function, truth=truth, note=note, **(defaults | fields))


CASES = (
    region_case(
        "roi_align",
        roi_align,
        align,
        "adaptive",
        settings={"size": (2, 3), "scale": 0.25, "sampling_ratio": 0, "aligned": True},
        untraced=("reference",),
        extremes=hard,
    ),
    region_case(
        "roi_align",
        roi_align,
        align,
        "old",
        settings={"size": (3, 3), "scale": 0.25, "sampling_ratio": 2, "aligned": False},
        extremes=hard,
    ),
    region_case(
        "roi_align_rotated",
        roi_align_rotated,
        rotated,
        settings={"size": (2, 3), "scale": 0.25, "sampling_ratio": 2},
        make=turned,
    ),
    region_case(
        "roi_align_rotated",
        roi_align_rotated,
        rotated,
        "adaptive",
        settings={"size": (2, 3), "scale": 0.25, "sampling_ratio": 0},
        make=turned,
        untraced=("reference",),
    ),
    region_case("roi_pool", roi_pool, pool, settings={"size": (2, 3), "scale": 0.25}, extremes=hard),
    region_case(
        "ps_roi_align",
        ps_roi_align,
        position_sensitive,
        settings={"size": 2, "scale": 0.25, "sampling_ratio": 2},
        make=many_channels,
    ),
    region_case("point_sample", point_sample, at_points, make=points, differentiable=("features", "points")),
    region_case(
        "simple_roi_align",
        simple_roi_align,
        at_centres,
        settings={"size": 3, "scale": 0.25},
    ),
)
