"""What several views of an image say of each pixel becomes one map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.augmentation import Merge, Mirror
from omma.model import Model
from omma.registry import register
from omma.structures import Batch, Meta, Prediction
from omma_segmentation.models.segmentor import Segmentor


@register
class MergeSegmentations(Merge):
    """The class of a pixel is that of the highest mean probability over all views."""

    def look(self, model: Model, batch: Batch) -> Sequence[Tensor]:
        """Probabilities (C, H, W) of the original pixels of each image."""
        assert isinstance(model, Segmentor), type(model)
        return [logits.softmax(0) for logits in model.original_logits(batch)]

    def upright(self, seen: Tensor, mirror: Mirror, meta: Meta) -> Tensor:
        """The probabilities mirrored back."""
        axes = {"none": [], "horizontal": [2], "vertical": [1], "both": [1, 2]}[mirror]
        return seen.flip(axes) if axes else seen

    def __call__(self, seen: Sequence[Tensor]) -> Prediction:
        """The class of each pixel."""
        return {"semantic": torch.stack(list(seen)).mean(0).argmax(0).to(torch.uint8)}
