"""Windows of videos."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.structures import Meta, Sample
from omma_action.transforms.crops import CentreCrop, MultiScaleCrop, RandomAreaCrop, TenCrop, ThreeCrop
from omma_action.transforms.mirror_labels import MirrorLabels


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def sample(height: int, width: int, views: int = 2, frames: int = 3) -> Sample:
    """A pixel's colours are its row, its column, and a number of its view and frame."""
    rows = torch.arange(height).view(-1, 1).expand(height, width)
    columns = torch.arange(width).expand(height, width)
    video = torch.empty(views, frames, 3, height, width, dtype=torch.uint8)
    for v in range(views):
        for t in range(frames):
            video[v, t] = torch.stack([rows, columns, torch.full_like(rows, 10 * v + t)])
    meta = Meta(index=0, id=0, path="", height=height, width=width)
    return {"video": tv_tensors.Video(video), "labels": torch.tensor([1]), "meta": meta}


def corners(video: Tensor) -> list[tuple[int, int]]:
    """Row and column of the top-left pixel of each view."""
    return [(int(view[0, 0, 0, 0]), int(view[0, 1, 0, 0])) for view in video]


def test_the_middle_of_all_frames():
    out = CentreCrop(height=4, width=6)(sample(9, 12))["video"]
    assert isinstance(out, tv_tensors.Video)
    assert out.shape == (2, 3, 3, 4, 6)
    assert corners(out) == [(2, 3), (2, 3)]
    assert out[1, 2, 2].unique().tolist() == [12]


@pytest.mark.parametrize(("height", "width"), [(8, 20), (20, 8)])
def test_three_windows_lie_along_the_longer_side(height: int, width: int):
    out = ThreeCrop(size=8)(sample(height, width))["video"]
    assert out.shape == (6, 3, 3, 8, 8)
    starts = [(0, 0), (0, 12), (0, 6)] if width > height else [(0, 0), (12, 0), (6, 0)]
    assert corners(out) == [start for start in starts for _ in range(2)]


def test_ten_windows_are_corners_and_middle_and_their_mirror_images():
    out = TenCrop(size=8)(sample(12, 16, views=1))
    video = out["video"]
    assert video.shape == (10, 3, 3, 8, 8)
    places = [(0, 0), (0, 8), (4, 0), (4, 8), (2, 4)]
    assert corners(video[::2]) == places
    assert torch.equal(video[1::2], video[::2].flip(-1))
    assert not out["meta"].flipped


def test_frames_too_small_for_their_windows_are_an_error():
    with pytest.raises(ValueError, match="6 x 20 are too small for windows of 8"):
        ThreeCrop(size=8)(sample(6, 20))


def test_windows_of_several_scales_lie_at_some_of_thirteen_places():
    crop = MultiScaleCrop(height=8, width=8, scales=(1.0, 0.5), gap=1, places=13)
    windows = {crop.window(100, 140) for _ in range(2000)}
    assert {(rows, columns) for _, _, rows, columns in windows} == {
        (100, 100),
        (100, 50),
        (50, 100),
        (50, 50),
    }
    halves = {(top, left) for top, left, rows, columns in windows if rows == columns == 50}
    down, right = 50 // 4, 90 // 4
    expected = {(i * down, j * right) for i in range(5) for j in range(5) if (i + j) % 2 == 0}
    assert halves == expected
    assert crop(sample(100, 140))["video"].shape == (2, 3, 3, 8, 8)


def test_scales_further_apart_than_the_gap_are_not_combined():
    crop = MultiScaleCrop(height=8, width=8, scales=(1.0, 0.75, 0.5), gap=0)
    assert all(rows == columns for _, _, rows, columns in (crop.window(100, 140) for _ in range(200)))


def test_random_windows_have_the_areas_and_ratios_asked_for():
    crop = RandomAreaCrop(height=4, width=4, area=(0.1, 0.5), ratio=(0.5, 2.0))
    for _ in range(300):
        top, left, rows, columns = crop.window(200, 300)
        assert 0 <= top <= 200 - rows
        assert 0 <= left <= 300 - columns
        assert 0.098 <= rows * columns / 60000 <= 0.502
        assert -math.log(2) - 0.03 <= math.log(columns / rows) <= math.log(2) + 0.03


def test_where_no_window_fits_the_largest_square_is_taken():
    crop = RandomAreaCrop(height=4, width=4, area=(1.0, 1.0), ratio=(1.0, 1.0))
    assert crop.window(10, 40) == (0, 15, 10, 10)


@pytest.mark.parametrize(("flipped", "label"), [(True, 4), (False, 1)])
def test_a_mirror_exchanges_classes_that_name_a_side(flipped: bool, label: int):
    one = sample(4, 4)
    one["meta"] = Meta(index=0, id=0, path="", height=4, width=4, flipped=flipped)
    assert MirrorLabels(pairs=((1, 4), (2, 3)))(one)["labels"].tolist() == [label]
    with pytest.raises(ValueError, match="one pair"):
        MirrorLabels(pairs=((1, 4), (4, 3)))
