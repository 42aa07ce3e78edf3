"""Draws what is done in a clip, and annotated samples."""

from __future__ import annotations

import numpy as np
import torch

from omma.structures import DataInfo, Prediction, Sample
from omma.visualization import class_color, contact_sheet, draw_ranking, draw_title

TOP = 3
"""Classes that are drawn."""
_SHEET_FRAMES, _SHEET_COLUMNS, _SHEET_WIDTH = 8, 4, 960
_SKELETON_SIDE = 160


def class_name(info: DataInfo, label: int) -> str:
    """The name of a class, or its number where it has none."""
    return info.classes[label] if label < len(info.classes) else str(label)


def draw_prediction(image: np.ndarray, prediction: Prediction, info: DataInfo) -> np.ndarray:
    """A new image with the likeliest classes in its corner; none where nothing was to be seen.

    Args:
        image: (H, W, 3) uint8 RGB, a frame of the clip.
        prediction: of the clip.
        info: names of the classes.
    """
    scores = prediction["class_scores"]
    if not scores.any():
        return image.copy()
    values, labels = scores.topk(min(TOP, len(scores)))
    names = [class_name(info, label) for label in labels.tolist()]
    return draw_ranking(image, names, values.tolist(), labels.tolist())


def draw_sample(sample: Sample, info: DataInfo) -> np.ndarray:
    """Frames of the sample's first view on one sheet, (H, W, 3) uint8 RGB, under the names of its classes.

    Joints are drawn where their first two numbers say, whatever these are; volumes as their highest map.
    """
    frames = _frames(sample)
    shown = np.unique(np.linspace(0, len(frames) - 1, _SHEET_FRAMES).round().astype(int))
    images = [np.ascontiguousarray(frames[i]) for i in shown.tolist()]
    sheet = contact_sheet(images, columns=min(_SHEET_COLUMNS, len(images)), width=_SHEET_WIDTH)
    names = [class_name(info, label) for label in sample.get("labels", torch.empty(0)).tolist()]
    return draw_title(sheet, ", ".join(names) or "no class")


def _frames(sample: Sample) -> np.ndarray:
    """(T, H, W, 3) uint8 pictures of the first view."""
    if "video" in sample:
        return sample["video"].as_subclass(torch.Tensor)[0].permute(0, 2, 3, 1).cpu().numpy()
    if "volume" in sample:
        highest = sample["volume"][0].amax(dim=0).clamp(0, 1)  # (T, H, W)
        return (255 * highest).to(torch.uint8)[..., None].expand(-1, -1, -1, 3).cpu().numpy()
    joints = sample["skeleton"][0].cpu().numpy()  # (M, T, K, C)
    found, points = joints.any(axis=-1), joints[..., :2]
    pictures = np.full((joints.shape[1], _SKELETON_SIDE, _SKELETON_SIDE, 3), 255, np.uint8)
    if not found.any():
        return pictures
    low, high = points[found].min(axis=0), points[found].max(axis=0)
    places = 4 + (points - low) / max(float((high - low).max()), 1e-6) * (_SKELETON_SIDE - 9)
    for person, frame, joint in np.argwhere(found):
        column, row = places[person, frame, joint].astype(int)
        pictures[frame, row - 2 : row + 3, column - 2 : column + 3] = class_color(int(person))
    return pictures
