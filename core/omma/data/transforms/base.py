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

ArrayChange = Callable[[np.ndarray], np.ndarray]

# torchvision's decorator hides the signature from type checkers.
wrap: Callable[..., Any] = tv_tensors.wrap


class Transform(ABC):
    """A new sample from a sample; the one that comes in, and its tensors, stay as they are.

    All randomness comes from torch's global generator, which the loader seeds for each sample. What is
    spatial moves together; what runs over instances (``INSTANCE_KEYS``) stays aligned; keys that a transform
    doesn't know pass through.
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


def keep_instances(sample: Sample, keep: Tensor) -> Sample:
    """Only the instances of a (N,) bool mask, in every key that runs over instances."""
    if bool(keep.all()):
        return sample
    kept: dict[str, Any] = dict(sample)
    for key in INSTANCE_KEYS:
        if key in kept:
            kept[key] = _pick(kept[key], keep)
    return cast(Sample, kept)


def _pick(value: Any, keep: Tensor) -> Any:
    if isinstance(value, Polygons):
        return value.select(keep)
    picked = value[keep]
    return wrap(picked, like=value) if isinstance(value, tv_tensors.TVTensor) else picked


def map_spatial(
    sample: Sample,
    *,
    image: ArrayChange,
    points: Callable[[Tensor], Tensor],
    masks: ArrayChange,
    size: tuple[int, int],
    semantic: ArrayChange | None = None,
) -> Sample:
    """Apply an axis-parallel geometric change to everything spatial in a sample.

    Boxes are clamped to the new canvas; key points and outlines are not, they know what lies outside.

    Args:
        sample: what to change.
        image: on the (H, W, 3) uint8 image, or on each frame of a video.
        points: on (..., 2) xy coordinates in the frame of the boxes, so that a mirrored point is at W - x.
        masks: on one (H, W) uint8 bitmap, nearest neighbour.
        size: (H, W) of the result.
        semantic: as ``masks``, for semantic maps where these differ.
    """
    out: dict[str, Any] = dict(sample)
    for key, value in sample.items():
        if isinstance(value, tv_tensors.Image):
            out[key] = tv_tensors.Image(_map_image(value.as_subclass(Tensor), image))
        elif isinstance(value, tv_tensors.Video):
            outer = value.shape[:-3]
            frames = [_map_image(frame, image) for frame in value.as_subclass(Tensor).flatten(0, -4)]
            out[key] = tv_tensors.Video(torch.stack(frames).unflatten(0, outer))
        elif isinstance(value, tv_tensors.BoundingBoxes):
            boxes = _map_boxes(value.as_subclass(Tensor), points, size)
            out[key] = wrap(boxes, like=value, canvas_size=size)
        elif isinstance(value, tv_tensors.KeyPoints):
            out[key] = wrap(points(value.as_subclass(Tensor)), like=value, canvas_size=size)
        elif isinstance(value, Polygons):
            out[key] = Polygons.wrap(points(value.as_subclass(Tensor)), value, canvas_size=size)
        elif isinstance(value, tv_tensors.Mask):
            change = semantic if semantic is not None and key == "semantic" else masks
            out[key] = tv_tensors.Mask(_map_masks(value.as_subclass(Tensor), change, size))
    return cast(Sample, out)


def _map_image(image: Tensor, change: ArrayChange) -> Tensor:
    # (3, H, W) in the memory order of OpenCV, (H, W, 3): both permutes are views.
    changed = np.ascontiguousarray(change(image.permute(1, 2, 0).numpy()))
    return torch.from_numpy(changed).permute(2, 0, 1)


def _map_boxes(boxes: Tensor, points: Callable[[Tensor], Tensor], size: tuple[int, int]) -> Tensor:
    first, second = points(boxes.reshape(-1, 2, 2)).unbind(1)
    limit = boxes.new_tensor([size[1], size[0]])
    low = torch.minimum(first, second).clamp_(min=0).minimum(limit)
    high = torch.maximum(first, second).clamp_(min=0).minimum(limit)
    return torch.cat([low, high], dim=1)


def _map_masks(masks: Tensor, change: ArrayChange, size: tuple[int, int]) -> Tensor:
    bitmaps = masks.numpy().reshape(-1, *masks.shape[-2:])
    out = np.empty((len(bitmaps), *size), bitmaps.dtype)
    for target, bitmap in zip(out, bitmaps, strict=True):
        target[:] = change(bitmap)
    return torch.from_numpy(out.reshape(*masks.shape[:-2], *size))


def cut_outlines(sample: Sample) -> Sample:
    """The sample with outlines cut at the border of its canvas, before a larger one shows more of them."""
    masks = sample.get("masks")
    return cast(Sample, {**sample, "masks": masks.clipped()}) if isinstance(masks, Polygons) else sample


def with_meta(sample: Sample, **fields: Any) -> Sample:
    """The sample with these fields of its ``meta`` replaced; as it is where it has none."""
    if "meta" not in sample:
        return sample
    return cast(Sample, {**sample, "meta": replace(sample["meta"], **fields)})


def uniform(low: float, high: float) -> float:
    """A number from torch's global generator, equally likely in low..high."""
    return low + (high - low) * float(torch.rand(()))


def choose(count: int) -> int:
    """A whole number below ``count`` from torch's global generator."""
    return int(torch.randint(count, ()))


def canvas(sample: Sample) -> tuple[int, int]:
    """(H, W) of the sample's image or video."""
    shape = (sample["image"] if "image" in sample else sample["video"]).shape
    return shape[-2], shape[-1]
