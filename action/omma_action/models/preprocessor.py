"""From the clips of a batch to the input of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.model import Preprocessor
from omma.registry import register


@register
class ClipPreprocessor(Preprocessor):
    """From uint8 RGB clips to one float tensor.

    Normalises first and pads with zeros afterwards (right and bottom), so padding is the mean colour.

    Args:
        mean, std, bgr: as ``Preprocessor``.
        divisor: padded height and width are multiples of this, pixels.
    """

    def __init__(
        self,
        *,
        mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        std: tuple[float, float, float] = (58.395, 57.12, 57.375),
        bgr: bool = False,
        divisor: int = 1,
    ) -> None:
        super().__init__(mean=mean, std=std, bgr=bgr, divisor=divisor)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """``images``: N clips, uint8 (V, T, 3, H_i, W_i). Returns float32 (N, V, T, 3, H, W).

        Raises:
            ValueError: the clips differ in views or frames.
        """
        counts = {tuple(clip.shape[:2]) for clip in images}
        if len(counts) != 1:
            raise ValueError(f"expected clips of as many views and frames, got (views, frames) {counts}")
        canvas = self.canvas([(clip.shape[-2], clip.shape[-1]) for clip in images])
        views, frames = counts.pop()
        size = (len(images), views, frames, 3, canvas.height, canvas.width)
        out = torch.zeros(size, device=self.mean.device)
        for slot, clip in zip(out, images):
            height, width = clip.shape[-2:]
            slot[..., :height, :width] = ((clip.flip(-3) if self.bgr else clip) - self.mean) / self.std
        return out
