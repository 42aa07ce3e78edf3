"""Skeletons and their volumes of a batch, which need no normalising, in one tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.model import Preprocessor
from omma.registry import register


@register
class SkeletonPreprocessor(Preprocessor):
    """Stacks skeletons as they are."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """``images``: N skeletons (V, M, T, K, C). Returns float32 (N, V, M, T, K, C).

        Raises:
            ValueError: they differ in shape.
        """
        shapes = {tuple(each.shape) for each in images}
        if len(shapes) != 1:
            raise ValueError(
                f"expected skeletons or volumes of one shape, got {', '.join(map(str, sorted(shapes)))}; "
                "draw as many frames and persons of each, with UniformFrames and PadPersons"
            )
        return torch.stack([each.to(self.mean.device, torch.float32) for each in images])


@register
class VolumePreprocessor(SkeletonPreprocessor):
    """Stacks volumes of heatmaps, one of a joint or limb in the place of a colour."""

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """``images``: N volumes (V, K, T, H, W). Returns float32 (N, V, T, K, H, W)."""
        return super().forward(images).transpose(2, 3)
