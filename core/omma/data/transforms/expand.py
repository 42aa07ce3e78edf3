"""Smaller objects and larger ones (Liu et al., SSD: Single Shot MultiBox Detector, 2015)."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.data.transforms.base import Transform, canvas, choose, keep_instances, uniform
from omma.data.transforms.crop import centre_inside, crop
from omma.data.transforms.picture import show
from omma.ops import pairwise_iou
from omma.registry import register
from omma.structures import Sample


@register
class Expand(Transform):
    """Lays a share of the samples at a random place of a larger canvas.

    Args:
        ratio: range of the factor on both sides of the image.
        fill: (R, G, B) of the canvas in 0..255.
        prob: the share.
    """

    def __init__(
        self,
        *,
        ratio: tuple[float, float] = (1.0, 4.0),
        fill: tuple[int, int, int] = (124, 116, 104),
        prob: float = 0.5,
    ) -> None:
        if not 1 <= ratio[0] <= ratio[1] or not 0 <= prob <= 1:
            raise ValueError(f"need 1 <= ratio and prob in 0..1, got {ratio} and {prob}")
        self.ratio, self.fill, self.prob = ratio, fill, prob

    def __call__(self, sample: Sample) -> Sample:
        """The sample on the larger canvas, or as it was."""
        if uniform(0, 1) >= self.prob:
            return sample
        height, width = canvas(sample)
        factor = uniform(*self.ratio)
        size = (int(height * factor), int(width * factor))
        top, left = choose(size[0] - height + 1), choose(size[1] - width + 1)
        return show(sample, (top, left, top + height, left + width), size, self.fill)


@register
class MinIoUCrop(Transform):
    """A window that overlaps all objects whose centre lies in it by a least IoU, which is drawn.

    The whole image is one of the choices, and a window with any overlap is another.

    Args:
        min_ious: the least IoUs to choose from.
        min_size: least share of the image's height and width that the window has.
    """

    def __init__(
        self, *, min_ious: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9), min_size: float = 0.3
    ) -> None:
        if not all(0 <= iou <= 1 for iou in min_ious) or not 0 < min_size <= 1:
            raise ValueError(f"need min_ious and min_size in 0..1, got {min_ious} and {min_size}")
        self.choices = (1.0, *min_ious, 0.0)
        self.min_size = min_size

    def __call__(self, sample: Sample) -> Sample:
        """The sample inside the window, without objects whose centre lies outside."""
        height, width = canvas(sample)
        while True:
            least = self.choices[choose(len(self.choices))]
            if least == 1:
                return sample
            for _ in range(50):
                inner = (
                    max(1, int(uniform(self.min_size, 1) * height)),
                    max(1, int(uniform(self.min_size, 1) * width)),
                )
                if not 0.5 <= inner[0] / inner[1] <= 2:
                    continue
                top, left = choose(height - inner[0] + 1), choose(width - inner[1] + 1)
                if self._fits(sample, top, left, *inner, least):
                    if "boxes" in sample:
                        sample = keep_instances(sample, centre_inside(sample, top, left, *inner))
                    return crop(sample, top, left, *inner)

    @staticmethod
    def _fits(sample: Sample, top: int, left: int, height: int, width: int, least: float) -> bool:
        if "boxes" not in sample or not len(sample["boxes"]):
            return True
        boxes = sample["boxes"].as_subclass(Tensor)
        window = torch.tensor([[left, top, left + width, top + height]], dtype=boxes.dtype)
        return bool(
            pairwise_iou(window, boxes).min() >= least
            and centre_inside(sample, top, left, height, width).any()
        )
