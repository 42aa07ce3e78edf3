"""The levels of Semantic FPN."""

from __future__ import annotations

import pytest

from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.semantic_fpn import FPNHead


def test_strides_of_a_semantic_pyramid_must_double():
    with pytest.raises(ValueError, match=r"powers of two times the first one, got \(4, 12\)"):
        FPNHead(
            in_channels=(4, 4),
            in_index=(0, 1),
            strides=(4, 12),
            channels=4,
            num_classes=2,
            loss=PixelCrossEntropy(),
        )
