"""Top-down crops: where they put pixels, key points and boxes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from omma.structures import Meta, Sample
from omma_pose.datasets.skeletons import COCO
from omma_pose.models.topdown import to_original
from omma_pose.transforms import Crop, RandomTopDownCrop, TopDownCrop, crop_matrix

WIDTH, HEIGHT = 160, 120


def sample(points: np.ndarray | None = None, box: tuple[float, ...] = (40, 20, 100, 110)) -> Sample:
    """A dark image with a bright dot of 3 x 3 pixels at each key point."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    if points is None:
        points = np.tile([[70.0, 60.0]], (17, 1))
    for x, y in points.astype(int):
        image[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = 255
    size = (HEIGHT, WIDTH)
    return {
        "image": tv_tensors.Image(torch.from_numpy(image).permute(2, 0, 1)),
        "boxes": tv_tensors.BoundingBoxes(torch.tensor([box]), format="XYXY", canvas_size=size),
        "box_scores": torch.ones(1),
        "labels": torch.zeros(1, dtype=torch.int64),
        "keypoints": tv_tensors.KeyPoints(torch.tensor(points, dtype=torch.float32)[None], canvas_size=size),
        "visibility": torch.full((1, 17), 2, dtype=torch.uint8),
        "meta": Meta(index=0, id=0, path="x.jpg", height=HEIGHT, width=WIDTH),
    }


def test_a_box_of_the_right_shape_fills_the_crop():
    matrix = crop_matrix(Crop((70, 65), (60, 80)), 128, 96)
    corners = np.array([[40, 25, 1], [100, 105, 1]])
    np.testing.assert_allclose(corners @ matrix.T, [[0, 0], [96, 128]], atol=1e-9)


def test_unbiased_sides_meet_the_centres_of_the_outermost_pixels():
    matrix = crop_matrix(Crop((70, 65), (60, 80)), 128, 96, unbiased=True)
    corners = np.array([[40, 25, 1], [100, 105, 1]])
    np.testing.assert_allclose(corners @ matrix.T, [[0, 0], [95, 127]], atol=1e-9)


def test_a_box_of_another_shape_is_widened_and_padded():
    out = TopDownCrop(height=128, width=96, padding=1.25)(sample(box=(40, 20, 100, 110)))
    x1, y1, x2, y2 = out["boxes"][0].tolist()
    assert (y1 + y2) / 2 == pytest.approx(64, abs=1)
    assert (x1 + x2) / 2 == pytest.approx(48, abs=1)
    # The height, 90 pixels, is longer than three quarters of it: four fifths of the crop.
    assert y2 - y1 == pytest.approx(128 / 1.25, abs=1e-3)
    assert x2 - x1 == pytest.approx(60 / 90 * 128 / 1.25, abs=1e-3)


def test_a_turn_is_clockwise_and_a_mirror_swaps_sides():
    right = np.array([80.0, 65.0, 1.0])  # of the centre
    turned = crop_matrix(Crop((70, 65), (60, 80), degrees=90), 128, 96) @ right
    # A quarter turn, on a crop that isn't square: the point is below the centre now.
    assert turned[0] == pytest.approx(48)
    assert turned[1] > 64
    mirrored = crop_matrix(Crop((70, 65), (60, 80), mirrored=True), 128, 96) @ right
    assert mirrored[0] == pytest.approx(48 - 16)


@pytest.mark.parametrize("unbiased", [False, True])
def test_pixels_and_key_points_move_together(unbiased):
    crop = RandomTopDownCrop(
        height=128, width=96, skeleton=COCO, unbiased=unbiased, half_body=0.0, degrees=40
    )
    torch.manual_seed(0)
    tried = 0
    for _ in range(40):
        out = crop(sample())
        image = out["image"][0].numpy().astype(float)
        x, y = out["keypoints"][0, 0].tolist()
        if not (8 < x < 88 and 8 < y < 120):
            continue
        ys, xs = np.mgrid[:128, :96]
        assert (image * xs).sum() / image.sum() == pytest.approx(x, abs=0.1)
        assert (image * ys).sum() / image.sum() == pytest.approx(y, abs=0.1)
        tried += 1
    assert tried > 20


def test_key_points_come_back_by_the_crop_of_the_sample():
    torch.manual_seed(1)
    crop = RandomTopDownCrop(height=128, width=96, skeleton=COCO, mirror=0)
    before = sample(np.random.default_rng(0).uniform(30, 100, (17, 2)))
    out = crop(before)
    back = to_original(out["keypoints"].as_subclass(torch.Tensor), out["crop"][None])
    torch.testing.assert_close(back, before["keypoints"].as_subclass(torch.Tensor), atol=1e-3, rtol=0)


def test_a_mirror_exchanges_left_and_right_with_their_visibility():
    before = sample(np.stack([np.arange(17) * 3.0 + 40, np.full(17, 60.0)], 1))
    before["visibility"] = torch.arange(17, dtype=torch.uint8)[None] % 3
    arguments = {"half_body": 0.0, "shift_prob": 0.0, "scale": (1.0, 1.0), "turn_prob": 0.0}
    plain = RandomTopDownCrop(height=128, width=96, skeleton=COCO, mirror=0.0, **arguments)(before)
    mirrored = RandomTopDownCrop(height=128, width=96, skeleton=COCO, mirror=1.0, **arguments)(before)
    order = list(COCO.mirror)
    torch.testing.assert_close(mirrored["keypoints"][0, :, 0], 96 - plain["keypoints"][0, order, 0])
    assert torch.equal(mirrored["visibility"], plain["visibility"][:, order])
    assert mirrored["meta"].flipped
    assert not plain["meta"].flipped


def test_half_a_body_is_shown_around_its_key_points():
    points = np.concatenate([np.full((11, 2), 40.0), np.full((6, 2), 90.0)]) + np.arange(17)[:, None] % 5
    crop = RandomTopDownCrop(
        height=128,
        width=96,
        skeleton=COCO,
        half_body=1.0,
        mirror=0.0,
        shift_prob=0.0,
        scale=(1, 1),
        turn_prob=0,
    )
    torch.manual_seed(0)
    shown = set()
    for _ in range(12):
        places = crop(sample(points))["keypoints"][0]
        inside = ((places >= 0) & (places < torch.tensor([96.0, 128.0]))).all(1)
        shown.add((bool(inside[:11].all()), bool(inside[11:].all())))
    assert shown == {(True, False), (False, True)}


def test_a_sample_without_boxes_is_shown_as_a_whole():
    image = sample()["image"]
    out = TopDownCrop(height=120, width=160, padding=1.0)({"image": image, "meta": sample()["meta"]})
    assert torch.equal(out["image"], image)


def test_a_box_without_size_gives_a_finite_crop():
    out = TopDownCrop(height=128, width=96)(sample(box=(50, 50, 50, 50)))
    assert out["crop"].isfinite().all()
    assert out["keypoints"].isfinite().all()


def test_several_boxes_are_refused():
    twice = sample()
    twice["boxes"] = tv_tensors.BoundingBoxes(torch.ones(2, 4), format="XYXY", canvas_size=(HEIGHT, WIDTH))
    with pytest.raises(ValueError, match="shows one object, but the sample has 2"):
        TopDownCrop(height=128, width=96)(twice)


def test_a_mirror_needs_a_skeleton():
    with pytest.raises(ValueError, match="need a skeleton"):
        RandomTopDownCrop(height=128, width=96)
