"""Boundaries in labels against OpenCV, and their loss against its formula."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from omma.structures import IGNORED
from omma_segmentation.losses import BoundaryCrossEntropy, label_boundaries

from .patches import labels_of

STEPS = {"down": (1, 0), "right": (0, 1), "down right": (1, 1), "down left": (1, -1)}


def marked(labels: np.ndarray) -> np.ndarray:
    """One pixel at each change of class, pixel by pixel."""
    height, width = labels.shape
    edges = np.zeros(labels.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            for name, (dy, dx) in STEPS.items():
                if not (y + dy < height and 0 <= x + dx < width):
                    continue
                pair = labels[y, x], labels[y + dy, x + dx]
                if pair[0] != pair[1] and IGNORED not in pair:
                    edges[(y + dy, x + dx) if name == "down" else (y, x)] = 1
    return edges


@pytest.mark.parametrize("width", [1, 3, 4])
def test_boundaries_are_the_changes_of_class_dilated(width: int):
    labels = labels_of()
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (width, width))
    expected = np.stack([cv2.dilate(marked(each), kernel) for each in labels.numpy()])
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(label_boundaries(labels, width).numpy(), expected)


def test_boundary_loss_weighs_each_kind_by_the_other():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 5, 6, generator=generator, dtype=torch.float64)
    truth = (torch.rand(2, 5, 6, generator=generator) < 0.2).long()
    p = 1 / (1 + np.exp(-logits[:, 0].numpy()))
    on = truth.numpy() == 1
    share = on.mean()
    total = -((1 - share) * np.log(p[on])).sum() - (share * np.log(1 - p[~on])).sum()
    assert BoundaryCrossEntropy()(logits, truth).item() == pytest.approx(total / on.size, rel=1e-6)
    assert BoundaryCrossEntropy()(logits, torch.zeros_like(truth)).item() == 0
