"""Clips mixed with others of their batch in training, together with their classes."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from omma.registry import register


class Blending(ABC):
    """Draws from torch's global generator.

    Args:
        alpha: of the Beta distribution that the share of the first clip is drawn from, once for a batch.

    Raises:
        ValueError: ``alpha`` isn't positive.
    """

    def __init__(self, *, alpha: float = 1.0) -> None:
        if alpha <= 0:
            raise ValueError(f"alpha must be positive, got {alpha}")
        self.alpha = alpha

    def __call__(self, clips: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Clips (B, T, 3, H, W) and the shares of classes in each, (B, C), mixed with those of another."""
        share = float(torch.distributions.Beta(self.alpha, self.alpha).sample())
        order = torch.randperm(len(clips)).to(clips.device)
        mixed, share = self.mix(clips, clips[order], share)
        return mixed, share * targets + (1 - share) * targets[order]

    @abstractmethod
    def mix(self, first: Tensor, second: Tensor, share: float) -> tuple[Tensor, float]:
        """Clips of which about ``share`` is of the first ones, and how much it is."""


@register
class ClipMixUp(Blending):
    """The weighted mean of two clips, or of two skeletons' features (Zhang et al., mixup, 2017).

    Args:
        alpha: as ``Blending``.
    """

    def mix(self, first: Tensor, second: Tensor, share: float) -> tuple[Tensor, float]:
        """See ``Blending``."""
        return share * first + (1 - share) * second, share


@register
class ClipCutMix(Blending):
    """A window of one clip in another one, in all frames (Yun et al., CutMix, 2019).

    Args:
        alpha: as ``Blending``.
    """

    def mix(self, first: Tensor, second: Tensor, share: float) -> tuple[Tensor, float]:
        """See ``Blending``. Of a window that is drawn at the border only what lies inside is taken."""
        height, width = first.shape[-2:]
        spans = []
        for side in (height, width):
            half, centre = int(side * math.sqrt(1 - share)) // 2, int(torch.randint(side, ()))
            spans.append(slice(max(centre - half, 0), min(centre + half, side)))
        mixed = first.clone()
        mixed[..., spans[0], spans[1]] = second[..., spans[0], spans[1]]
        area = math.prod(span.stop - span.start for span in spans)
        return mixed, 1 - area / (height * width)
