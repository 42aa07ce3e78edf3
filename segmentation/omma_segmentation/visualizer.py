"""Draws segmentations and annotated samples."""

from __future__ import annotations

import numpy as np

from omma.structures import DataInfo, Prediction, Sample
from omma.visualization import draw_classes


def draw_prediction(image: np.ndarray, prediction: Prediction, info: DataInfo) -> np.ndarray:
    """A new image under the colours of its predicted classes, with a legend.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: in pixels of the image.
        info: names of the classes.
    """
    return draw_classes(image, prediction["semantic"].cpu().numpy(), info.classes)


def draw_sample(sample: Sample, info: DataInfo) -> np.ndarray:
    """The sample's image, (H, W, 3) uint8 RGB, under its labels; ignored pixels keep their own colours."""
    image = np.ascontiguousarray(sample["image"].permute(1, 2, 0).cpu().numpy())
    return (
        draw_classes(image, sample["semantic"].cpu().numpy(), info.classes) if "semantic" in sample else image
    )
