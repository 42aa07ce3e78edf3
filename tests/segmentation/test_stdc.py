"""STDC's detail of labels, pixel by pixel."""

from __future__ import annotations

import numpy as np

from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.stdc import STDCHead

from .patches import labels_of


def test_detail_of_labels_is_their_laplacian_at_three_strides():
    head = STDCHead(in_channels=4, channels=4, loss=PixelCrossEntropy())
    labels = labels_of((16, 20))
    values = np.pad(labels.numpy().astype(float), ((0, 0), (1, 1), (1, 1)))
    height, width = labels.shape[1:]
    expected = np.zeros(labels.shape)
    for y in range(height):
        for x in range(width):
            for stride, share in ((1, 0.6), (2, 0.3), (4, 0.1)):
                # Of the strided map the nearest pixel: the one that begins the cell.
                top, left = y // stride * stride, x // stride * stride
                window = values[:, top : top + 3, left : left + 3]
                laplacian = 9 * window[:, 1, 1] - window.sum((1, 2))
                expected[:, y, x] += share * (laplacian > 0.1)
    found = head.detail(labels).numpy()
    np.testing.assert_array_equal(found, expected > 0.1 + 1e-6)
    assert 0 < found.mean() < 1
