"""Draws what is done in a clip, and annotated samples."""

from __future__ import annotations

import numpy as np
import torch

from omma.structures import DataInfo, Prediction, Sample
from omma.visualization import contact_sheet, draw_ranking, draw_title

TOP = 3
"""Classes that are drawn."""
_SHEET_FRAMES, _SHEET_COLUMNS, _SHEET_WIDTH = 8, 4, 960


def class_name(info: DataInfo, label: int) -> str:
    """The name of a class, or its number where it has none."""
    return info.classes[label] if label < len(info.classes) else str(label)


def draw_prediction(image: np.ndarray, prediction: Prediction, info: DataInfo) -> np.ndarray:
    """A new image with the likeliest classes in its corner.

    Args:
        image: (H, W, 3) uint8 RGB, a frame of the clip.
        prediction: of the clip.
        info: names of the classes.
    """
    scores = prediction["class_scores"]
    values, labels = scores.topk(min(TOP, len(scores)))
    names = [class_name(info, label) for label in labels.tolist()]
    return draw_ranking(image, names, values.tolist(), labels.tolist())


def draw_sample(sample: Sample, info: DataInfo) -> np.ndarray:
    """Frames of the sample's first view on one sheet, (H, W, 3) uint8 RGB, under the names of its classes."""
    frames = sample["video"].as_subclass(torch.Tensor)[0]
    shown = np.unique(np.linspace(0, len(frames) - 1, _SHEET_FRAMES).round().astype(int))
    images = [np.ascontiguousarray(frames[i].permute(1, 2, 0).cpu().numpy()) for i in shown.tolist()]
    sheet = contact_sheet(images, columns=min(_SHEET_COLUMNS, len(images)), width=_SHEET_WIDTH)
    names = [class_name(info, label) for label in sample.get("labels", torch.empty(0)).tolist()]
    return draw_title(sheet, ", ".join(names) or "no class")
