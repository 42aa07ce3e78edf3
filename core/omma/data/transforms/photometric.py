"""Other light (Liu et al., SSD, 2016)."""

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
    """Brightness, contrast, saturation and hue, each in half of the samples; contrast first or last.

    Args:
        brightness: largest shift, grey levels.
        contrast: range of the factor.
        saturation: range of the factor.
        hue: largest shift, degrees.
    """

    def __init__(
        self,
        *,
        brightness: float = 32,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 18,
    ) -> None:
        self.brightness, self.contrast, self.saturation, self.hue = brightness, contrast, saturation, hue

    def __call__(self, sample: Sample) -> Sample:
        """The sample with a changed image."""
        image = sample["image"].as_subclass(Tensor).permute(1, 2, 0).numpy()
        contrast_first = choose(2) == 0
        gain = uniform(*self.contrast) if choose(2) else 1.0
        shift = uniform(-self.brightness, self.brightness) if choose(2) else 0.0
        saturation = uniform(*self.saturation) if choose(2) else 1.0
        hue = uniform(-self.hue, self.hue) if choose(2) else 0.0
        # Brightness, and contrast where it comes first, are one look-up: v -> gain * (v + shift).
        levels = np.arange(256, dtype=np.float32) + shift
        image = cv2.LUT(image, _levels(levels * gain if contrast_first else levels))
        if saturation != 1.0 or hue:
            image = _shift_hue(image, saturation, hue)
        if not contrast_first and gain != 1.0:
            image = cv2.LUT(image, _levels(np.arange(256, dtype=np.float32) * gain))
        image = np.ascontiguousarray(image)
        return cast(Sample, {**sample, "image": tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1))})


def _levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _shift_hue(image: np.ndarray, saturation: float, hue: float) -> np.ndarray:
    # OpenCV keeps the hue of uint8 images in half degrees, 0..179.
    turned = ((np.arange(256) + hue / 2) % 180).astype(np.uint8)
    table = np.stack([turned, _levels(np.arange(256) * saturation), np.arange(256).astype(np.uint8)], axis=-1)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), table[:, None])
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
