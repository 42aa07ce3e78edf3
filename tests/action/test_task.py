"""How predictions on clips are written down and drawn."""

from __future__ import annotations

import numpy as np
import torch
from torchvision import tv_tensors

from omma.structures import DataInfo
from omma_action.task import TASK

INFO = DataInfo(("run", "jump", "fall", "wave"))


def test_the_likeliest_classes_come_first_in_json():
    found = TASK.to_json({"class_scores": torch.tensor([0.1, 0.6, 0.3, 0.0])}, INFO)
    assert [entry["name"] for entry in found] == ["jump", "fall", "run", "wave"]
    assert found[0] == {"label": 1, "name": "jump", "score": 0.6}


def test_drawing_changes_a_corner_of_a_copy():
    image = np.full((120, 160, 3), 200, np.uint8)
    drawn = TASK.draw(image, {"class_scores": torch.tensor([0.1, 0.6, 0.3, 0.0])}, INFO)
    assert (image == 200).all()
    assert drawn.shape == image.shape
    assert (drawn[:20, :20] != 200).any()
    assert (drawn[-20:] == 200).all()


def test_a_sample_is_drawn_as_a_sheet_of_its_frames():
    frames = torch.arange(2 * 5, dtype=torch.uint8).view(2, 5, 1, 1, 1).expand(2, 5, 3, 8, 12) * 20
    sheet = TASK.draw_sample({"video": tv_tensors.Video(frames), "labels": torch.tensor([2])}, INFO)
    colours = {int(value) for value in np.unique(sheet[:, :, 0])}
    assert {0, 20, 40, 60, 80} <= colours
