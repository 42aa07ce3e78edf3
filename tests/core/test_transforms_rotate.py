"""Turned samples, against OpenCV's own rotation and against the angle's formula."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms import RandomRotate, RasteriseMasks
from omma.structures import IGNORED, Polygons, Sample

H, W = 48, 64


def sample() -> Sample:
    """A smooth image; a box, its outline and its corners as key points; four labels."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = torch.from_numpy(cv2.resize(noise, (W, H), interpolation=cv2.INTER_CUBIC)).permute(2, 0, 1)
    labels = torch.zeros(H, W, dtype=torch.uint8)
    labels[:24, 32:], labels[24:, :32], labels[24:, 32:] = 1, 2, 3
    box = torch.tensor([[20.0, 14, 44, 30]])
    return {
        "image": tv_tensors.Image(image),
        "boxes": tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=(H, W)),  # pyright: ignore[reportCallIssue]
        "labels": torch.tensor([5]),
        "masks": Polygons.from_coco([[[20, 14, 44, 14, 44, 30, 20, 30]]], (H, W)),
        "keypoints": tv_tensors.KeyPoints(box.reshape(1, 2, 2), canvas_size=(H, W)),  # pyright: ignore[reportCallIssue]
        "semantic": tv_tensors.Mask(labels),
    }


def outlines(of: Sample) -> Polygons:
    masks = of["masks"]
    assert isinstance(masks, Polygons)
    return masks


def turned(degrees: float, **options) -> Sample:
    return RandomRotate(degrees=(degrees, degrees), prob=1.0, **options)(sample())


@pytest.mark.parametrize("degrees", [-33.0, 10.0, 77.0])
def test_pixels_and_labels_are_those_of_opencv(degrees):
    before, after = sample(), turned(degrees, fill=(9, 8, 7))
    # OpenCV counts from the centre of the first pixel and turns to the left.
    matrix = cv2.getRotationMatrix2D(((W - 1) / 2, (H - 1) / 2), -degrees, 1.0)
    image = cv2.warpAffine(before["image"].permute(1, 2, 0).numpy(), matrix, (W, H), borderValue=(9, 8, 7))
    labels = cv2.warpAffine(
        before["semantic"].numpy(), matrix, (W, H), flags=cv2.INTER_NEAREST, borderValue=IGNORED
    )
    assert np.abs(after["image"].permute(1, 2, 0).numpy().astype(int) - image).max() <= 1
    assert (after["semantic"].numpy() != labels).mean() < 0.002  # ties between two pixels
    assert (after["semantic"] == IGNORED).any()
    assert isinstance(after["semantic"], tv_tensors.Mask)


def test_a_quarter_turn_to_the_right_loses_nothing_on_a_larger_canvas():
    before, after = sample(), turned(90.0, enlarge=True)
    for key in ("image", "semantic"):
        assert torch.equal(after[key] + 0, before[key].rot90(-1, (-2, -1)))
    assert after["boxes"].tolist() == [[18, 20, 34, 44]]
    assert after["boxes"].canvas_size == outlines(after).canvas_size == (W, H)


def test_points_turn_by_the_angle_about_the_middle():
    after = turned(30.0)
    middle = torch.tensor([W / 2, H / 2])
    cos, sin = math.cos(math.radians(30)), math.sin(math.radians(30))
    x, y = (sample()["keypoints"].as_subclass(Tensor) - middle).unbind(-1)
    wanted = torch.stack([cos * x - sin * y, sin * x + cos * y], -1) + middle
    torch.testing.assert_close(after["keypoints"].as_subclass(Tensor), wanted)
    # The turned outline is the rectangle itself, so that its box goes around all corners.
    torch.testing.assert_close(
        outlines(after).boxes().as_subclass(Tensor), after["boxes"].as_subclass(Tensor)
    )


def test_bitmaps_turn_with_their_outlines():
    bitmap = RandomRotate(degrees=(25, 25), prob=1.0)(RasteriseMasks()(sample()))["masks"]
    outline = RasteriseMasks()(turned(25.0))["masks"]
    both, either = (bitmap & outline).sum(), (bitmap | outline).sum()
    assert isinstance(bitmap, tv_tensors.Mask)
    assert both / either > 0.95


def test_objects_that_leave_the_canvas_are_dropped():
    corner = sample()
    size = {"format": "XYXY", "canvas_size": (H, W)}
    corner["boxes"] = tv_tensors.BoundingBoxes(torch.tensor([[0.0, 0, 3, 3]]), **size)  # pyright: ignore[reportCallIssue]
    after = RandomRotate(degrees=(45, 45), prob=1.0)(corner)
    assert len(after["boxes"]) == len(after["labels"]) == len(after["masks"]) == 0


def test_a_video_turns_frame_by_frame():
    image = sample()["image"]
    video = tv_tensors.Video(torch.stack([image, image.flip(0)]))
    after = RandomRotate(degrees=(20, 20), prob=1.0)({"video": video})["video"]
    one = turned(20.0)["image"]
    assert torch.equal(after[0], one + 0)
    assert torch.equal(after[1], one.flip(0))


def test_turns_come_with_their_probability_and_keep_to_their_limit():
    torch.manual_seed(0)
    before, found = sample(), []
    for _ in range(300):
        after = RandomRotate(degrees=15.0, prob=0.4)(before)
        corner = after["keypoints"][0, 1] - after["keypoints"][0, 0]
        found.append(math.degrees(math.atan2(float(corner[1]), float(corner[0])) - math.atan2(16, 24)))
    changed = [angle for angle in found if abs(angle) > 1e-3]
    assert abs(len(changed) / 300 - 0.4) < 0.1  # 3.5 standard deviations
    assert -15.01 < min(changed) < -10
    assert 10 < max(changed) < 15.01


@pytest.mark.parametrize("options", [{"degrees": -3.0}, {"degrees": (5.0, 1.0)}, {"degrees": 5.0, "prob": 2}])
def test_what_is_no_turn_is_refused(options):
    with pytest.raises(ValueError, match="rising pair"):
        RandomRotate(**options)
