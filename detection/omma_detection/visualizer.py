"""Draws detections and annotated samples."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from omma.structures import DataInfo, Polygons, Prediction, Sample
from omma.visualization import class_color, draw_boxes, draw_masks
from omma.visualization.palette import Color

_IGNORED: Color = (150, 150, 150)


def draw_prediction(image: np.ndarray, prediction: Prediction, info: DataInfo) -> np.ndarray:
    """A new image with masks, boxes, class names and scores.

    Args:
        image: (H, W, 3) uint8 RGB.
        prediction: in pixels of the image; all of it is drawn, the highest scores on top.
        info: names of the classes.
    """
    labels = prediction["labels"].tolist()
    colors = [class_color(label) for label in labels]
    out = image
    if "masks" in prediction:
        out = draw_masks(out, prediction["masks"].cpu().numpy(), colors)
    tags = [
        f"{class_name(info, label)} {score:.2f}"
        for label, score in zip(labels, prediction["scores"].tolist())
    ]
    return draw_boxes(out, prediction["boxes"].float().cpu().numpy(), tags, colors)


def draw_sample(sample: Sample, info: DataInfo) -> np.ndarray:
    """The sample's image, (H, W, 3) uint8 RGB, with its annotations; ignored boxes are grey and dashed."""
    out = np.ascontiguousarray(sample["image"].permute(1, 2, 0).cpu().numpy())
    if "ignored_boxes" in sample:
        ignored = sample["ignored_boxes"].float().cpu().numpy()
        out = draw_boxes(out, ignored, ["ignored"] * len(ignored), [_IGNORED] * len(ignored), dashed=True)
    if "boxes" not in sample:
        return out
    labels = sample["labels"].tolist()
    colors = [class_color(label) for label in labels]
    if "masks" in sample:
        masks = sample["masks"]
        dense: Tensor = masks.rasterise() if isinstance(masks, Polygons) else masks
        out = draw_masks(out, dense.cpu().numpy().astype(bool), colors)
    # Small objects are drawn last, so that none is hidden by a larger one.
    boxes = sample["boxes"].as_subclass(Tensor).float()
    order = torch.argsort((boxes[:, 2:] - boxes[:, :2]).prod(1)).tolist()
    tags = [class_name(info, labels[i]) for i in order]
    return draw_boxes(out, boxes[order].cpu().numpy(), tags, [colors[i] for i in order])


def class_name(info: DataInfo, label: int) -> str:
    """Name of the class, or its number where it has no name."""
    return info.classes[label] if 0 <= label < len(info.classes) else str(label)
