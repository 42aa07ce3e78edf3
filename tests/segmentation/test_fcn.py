"""FCN's head and the context that it may have."""

from __future__ import annotations

import pytest

from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.ccnet import CrissCrossContext
from omma_segmentation.models.fcn import FCNHead


def test_context_needs_two_convolutions():
    with pytest.raises(ValueError, match="num_convs must be 2 or more, got 1"):
        FCNHead(
            in_channels=4,
            channels=8,
            num_classes=2,
            loss=PixelCrossEntropy(),
            num_convs=1,
            context=CrissCrossContext(),
        )
