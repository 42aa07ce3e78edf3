"""The contract of transforms, and what several of them need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from omma.structures import INSTANCE_KEYS, Polygons, Sample


class Transform(ABC):
    """A new sample from a sample; the one that comes in stays as it is.

    All randomness comes from torch's global generator, which the loader seeds for each sample.
    """

    @abstractmethod
    def __call__(self, sample: Sample) -> Sample:
        """The transformed sample."""


AnyTransform = Transform | v2.Transform


class Compose(Transform):
    """One transform after another.

    Args:
        transforms: ours, or torchvision's v2 ones.
    """

    def __init__(self, *, transforms: Sequence[AnyTransform]) -> None:
        self.transforms = tuple(transforms)

    def __call__(self, sample: Sample) -> Sample:
        """The sample after all of them."""
        for transform in self.transforms:
            sample = transform(sample)
        return sample


def rasterise(sample: Sample) -> Sample:
    """The sample with outlines turned into bitmaps."""
    masks = sample.get("masks")
    return cast(Sample, {**sample, "masks": masks.rasterise()}) if isinstance(masks, Polygons) else sample


def keep_instances(sample: Sample, keep: Tensor) -> Sample:
    """Only the instances of a (N,) mask, in every key that runs over instances."""
    if bool(keep.all()):
        return sample
    kept: dict[str, Any] = dict(sample)
    for key in INSTANCE_KEYS:
        if key in kept:
            value = kept[key][keep]
            kept[key] = (
                tv_tensors.wrap(value, like=kept[key])
                if isinstance(kept[key], tv_tensors.TVTensor)
                else value
            )
    return cast(Sample, kept)


def map_spatial(
    sample: Sample,
    *,
    image: Callable[[np.ndarray], np.ndarray],
    points: Callable[[Tensor], Tensor],
    masks: Callable[[np.ndarray], np.ndarray],
    size: tuple[int, int],
    meta: dict[str, Any] | None = None,
) -> Sample:
    """Apply an axis-parallel geometric change to everything spatial in a sample.

    Args:
        sample: what to change.
        image: on the (H, W, 3) uint8 image.
        points: on (..., 2) xy coordinates.
        masks: on one (H, W) bitmap, nearest neighbour.
        size: (H, W) of the result.
        meta: fields of ``meta`` to replace.
    """
    out: dict[str, Any] = dict(sample)
    for key, value in sample.items():
        if isinstance(value, tv_tensors.Image):
            changed = np.ascontiguousarray(image(value.as_subclass(Tensor).permute(1, 2, 0).numpy()))
            out[key] = tv_tensors.Image(torch.from_numpy(changed).permute(2, 0, 1))
        elif isinstance(value, tv_tensors.BoundingBoxes):
            corners = points(value.as_subclass(Tensor).reshape(-1, 2, 2))
            ordered = torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)
            out[key] = tv_tensors.BoundingBoxes(ordered, format="XYXY", canvas_size=size)  # pyright: ignore[reportCallIssue]
        elif isinstance(value, tv_tensors.KeyPoints):
            out[key] = tv_tensors.KeyPoints(points(value.as_subclass(Tensor)), canvas_size=size)
        elif isinstance(value, Polygons):
            out[key] = Polygons.wrap(points(value.as_subclass(Tensor)), like=value, canvas_size=size)
        elif isinstance(value, tv_tensors.Mask):
            bitmaps = value.as_subclass(Tensor).numpy().reshape(-1, *value.shape[-2:])
            changed = (
                np.stack([masks(bitmap) for bitmap in bitmaps])
                if len(bitmaps)
                else np.zeros((0, *size), np.uint8)
            )
            out[key] = tv_tensors.Mask(
                torch.from_numpy(np.ascontiguousarray(changed.reshape(*value.shape[:-2], *size)))
            )
    if meta:
        out["meta"] = replace(sample["meta"], **meta)
    return cast(Sample, out)


def uniform(low: float, high: float) -> float:
    """A number from torch's global generator."""
    return float(torch.empty(()).uniform_(low, high))


def choose(count: int) -> int:
    """A position below ``count`` from torch's global generator."""
    return int(torch.randint(count, ()))


def canvas(sample: Sample) -> tuple[int, int]:
    """(H, W) of the sample's image."""
    return sample["image"].shape[-2], sample["image"].shape[-1]
