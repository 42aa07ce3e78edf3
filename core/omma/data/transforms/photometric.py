"""Other light (Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016)."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms.base import Transform, choose, uniform
from omma.registry import register
from omma.structures import Sample


@register
class PhotometricDistortion(Transform):
    """Brightness, contrast, saturation, hue and the order of channels, each changed in half of the samples.

    The order is brightness, contrast, saturation, hue, or, in half of the samples, contrast after hue; a
    swap of channels is last. Levels are rounded to uint8 after each step.

    Args:
        brightness: largest shift up or down, grey levels.
        contrast: range of the factor on all channels.
        saturation: range of the factor.
        hue: largest turn either way, degrees.
        swap_channels: whether channels may change places.
    """

    def __init__(
        self,
        *,
        brightness: float = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 18,
        swap_channels: bool = True,
    ) -> None:
        for name, (low, high) in (("contrast", contrast), ("saturation", saturation)):
            if not 0 <= low <= high:
                raise ValueError(f"{name} must be a range of factors from 0 up, got {(low, high)}")
        if brightness < 0 or not 0 <= hue <= 180:
            raise ValueError(f"need brightness >= 0 and hue in 0..180, got {brightness} and {hue}")
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue
        self.swap_channels = swap_channels

    def __call__(self, sample: Sample) -> Sample:
        """The sample with a changed image."""
        shift = uniform(-self.brightness, self.brightness) if choose(2) else 0.0
        contrast_first = choose(2) == 0
        gain = uniform(*self.contrast) if choose(2) else 1.0
        saturation = uniform(*self.saturation) if choose(2) else 1.0
        hue = uniform(-self.hue, self.hue) if choose(2) else 0.0
        order = torch.randperm(3).tolist() if self.swap_channels and choose(2) else [0, 1, 2]
        image = sample["image"].as_subclass(Tensor).permute(1, 2, 0).numpy()
        levels = _levels(np.arange(256) + shift)
        image = cv2.LUT(image, _levels(levels * gain) if contrast_first else levels)
        if saturation != 1.0 or hue:
            image = _shift_colour(image, saturation, hue)
        if not contrast_first and gain != 1.0:
            image = cv2.LUT(image, _levels(np.arange(256) * gain))
        if order != [0, 1, 2]:
            image = image[:, :, order]
        image = np.ascontiguousarray(image)
        return cast(Sample, {**sample, "image": tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))})


@register
class HSVShift(Transform):
    """Shifts hue, saturation and value by whole levels, each in half of the samples (Ge et al., YOLOX, 2021).

    Args:
        hue: largest turn either way, in half degrees.
        saturation: largest shift either way, levels.
        value: likewise.
    """

    def __init__(self, *, hue: int = 5, saturation: int = 30, value: int = 30) -> None:
        if min(hue, saturation, value) < 0:
            raise ValueError(f"shifts must be at least 0, got {hue}, {saturation} and {value}")
        self.limits = (hue, saturation, value)

    def __call__(self, sample: Sample) -> Sample:
        """The sample with a changed image."""
        hue, saturation, value = (int(uniform(-limit, limit)) * choose(2) for limit in self.limits)
        if hue == saturation == value == 0:
            return sample
        image = cv2.cvtColor(sample["image"].as_subclass(Tensor).permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)
        if hue:
            turned = ((np.arange(256) + hue) % 180).astype(np.uint8)
            cv2.insertChannel(cv2.LUT(cv2.extractChannel(image, 0), turned), image, 0)
        image = cv2.cvtColor(cv2.add(image, np.array([0.0, saturation, value, 0.0])), cv2.COLOR_HSV2RGB)
        return cast(Sample, {**sample, "image": tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))})


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _shift_colour(image: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    # OpenCV keeps the hue of uint8 images in half degrees, 0..179.
    levels = np.arange(256)
    turned = (np.round(levels + hue / 2) % 180).astype(np.uint8)
    table = np.stack([turned, _levels(levels * saturation), levels.astype(np.uint8)], axis=-1)
    return cv2.cvtColor(cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[:, None]), cv2.COLOR_HSV2RGB)
