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


def test_joints_are_drawn_where_they_lie_and_absent_ones_are_not():
    joints = torch.zeros(1, 1, 4, 3, 3)
    joints[0, 0, :, 0] = torch.tensor([1.0, 1.0, 0.5])
    joints[0, 0, :, 1] = torch.tensor([3.0, 3.0, 0.5])
    sheet = TASK.draw_sample({"skeleton": joints, "labels": torch.tensor([0])}, INFO)
    inked = (sheet != 255).any(axis=2)
    assert inked.any()
    alone = TASK.draw_sample({"skeleton": 0 * joints, "labels": torch.tensor([0])}, INFO)
    assert inked.sum() > (alone != 255).any(axis=2).sum()


def test_volumes_are_drawn_as_their_highest_map():
    volume = torch.zeros(1, 3, 2, 8, 12)
    volume[0, 1, 0, 4, 5] = 1
    sheet = TASK.draw_sample({"volume": volume, "labels": torch.tensor([0])}, INFO)
    assert sheet.max() == 255


def test_nothing_is_said_where_nothing_was_to_be_seen():
    nothing = {"class_scores": torch.zeros(4)}
    assert TASK.to_json(nothing, INFO) == []
    image = np.full((120, 160, 3), 200, np.uint8)
    assert (TASK.draw(image, nothing, INFO) == 200).all()
