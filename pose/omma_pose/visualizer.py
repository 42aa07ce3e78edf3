"""Draws skeletons and annotated samples."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from omma.structures import DataInfo, Prediction, Sample
from omma.visualization import draw_skeletons

SHOWN = 0.3
"""Key points under this score are not drawn."""


def draw_prediction(image: np.ndarray, prediction: Prediction, info: DataInfo) -> np.ndarray:
    """A new image with the key points of all objects and their bones.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: in pixels of the image.
        info: has the skeleton; without one there are points alone.
    """
    shown = prediction["keypoint_scores"] >= SHOWN
    return draw_skeletons(image, _array(prediction["keypoints"]), _array(shown), _lines(info))


def draw_sample(sample: Sample, info: DataInfo) -> np.ndarray:
    """The sample's image, (H, W, 3) uint8 RGB, with its labelled key points."""
    image = np.ascontiguousarray(sample["image"].permute(1, 2, 0).cpu().numpy())
    if "keypoints" not in sample:
        return image
    return draw_skeletons(image, _array(sample["keypoints"]), _array(sample["visibility"] > 0), _lines(info))


def _lines(info: DataInfo) -> tuple[tuple[int, int], ...]:
    return () if info.skeleton is None else info.skeleton.lines


def _array(values: Tensor) -> np.ndarray:
    return values.as_subclass(Tensor).cpu().numpy()
