"""Grids of cells as SOLO has them: whose they are, what their masks are compared with, and what is chosen."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from omma.structures import Meta
from omma_detection.models.assigners import CenterCellAssigner
from omma_detection.models.heads.cell_head import coordinates, peaks, shrink
from omma_detection.models.heads.mask_selection import MaskSelection

SIZE = (96, 160)
GRIDS = (12, 7, 4)
RANGES = ((1.0, 30.0), (20.0, 60.0), (50.0, 200.0))


def scene() -> tuple[Tensor, Tensor]:
    """Boxes (2, 8, 4) and centres (2, 8, 2); the last three objects of the second image are filling."""
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(2, 8, 2, generator=generator) * torch.tensor([100.0, 60])
    boxes = torch.cat([corner, corner + 8 + 50 * torch.rand(2, 8, 2, generator=generator) ** 2], dim=-1)
    share = 0.3 + 0.4 * torch.rand(2, 8, 2, generator=generator)
    centres = boxes[..., :2] + share * (boxes[..., 2:] - boxes[..., :2])
    centres[1, 5:] = torch.nan
    return boxes, centres


def cells_of(box: list[float], centre: list[float], first: int, grid: int) -> set[int]:
    """Cells that six tenths of a box around a centre touch, next to the centre's own cell."""
    found = set()
    for row in range(grid):
        for column in range(grid):
            near = touched = True
            for place, (middle, side, whole) in zip(
                (column, row),
                ((centre[0], box[2] - box[0], SIZE[1]), (centre[1], box[3] - box[1], SIZE[0])),
            ):
                low, high = place * whole / grid, (place + 1) * whole / grid
                touched &= middle + 0.3 * side >= low and middle - 0.3 * side < high
                near &= low - whole / grid <= middle < high + whole / grid
            if near and touched:
                found.add(first + row * grid + column)
    return found


def test_cells_in_the_middle_of_an_object_of_the_levels_scale_have_it():
    boxes, centres = scene()
    assigned = CenterCellAssigner(grids=GRIDS, scale_ranges=RANGES, center_scale=0.6)(boxes, centres, SIZE)
    expected = set()
    for image in range(2):
        for item in range(8 if image == 0 else 5):
            box = boxes[image, item].tolist()
            scale = ((box[2] - box[0]) * (box[3] - box[1])) ** 0.5
            first = 0
            for grid, (low, high) in zip(GRIDS, RANGES):
                if low <= scale <= high:
                    cells = cells_of(box, centres[image, item].tolist(), first, grid)
                    expected |= {(image, item, cell) for cell in cells}
                first += grid**2
    pairs = list(zip(assigned.images.tolist(), assigned.objects.tolist(), assigned.cells.tolist()))
    assert len(pairs) == len(expected) > 40
    assert set(pairs) == expected
    owners = torch.full((2, sum(grid**2 for grid in GRIDS)), -1)
    for image, item, cell in sorted(expected):
        owners[image, cell] = item
    assert len({(image, cell) for image, _, cell in expected}) < len(expected), "no cell has two objects"
    assert torch.equal(assigned.owners, owners)


def test_images_without_objects_own_no_cell():
    assigner = CenterCellAssigner(grids=GRIDS, scale_ranges=RANGES)
    assigned = assigner(torch.zeros(2, 1, 4), torch.full((2, 1, 2), torch.nan), SIZE)
    assert len(assigned.cells) == 0
    assert bool((assigned.owners == -1).all())


def test_a_middle_region_reaches_no_further_than_the_next_cells():
    assigner = CenterCellAssigner(grids=(10,), scale_ranges=((1, 1000),), center_scale=1.0)
    assigned = assigner(torch.tensor([[[0.0, 0, 100, 100]]]), torch.tensor([[[5.0, 55.0]]]), (100, 100))
    assert sorted(assigned.cells.tolist()) == [40, 41, 50, 51, 60, 61]


def blobs(count: int, size: tuple[int, int]) -> Tensor:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(count, *size)), (0, 4, 4))
    return torch.from_numpy((noise > 0.02).astype(np.uint8))


def test_masks_shrink_as_opencv_interpolates_them():
    masks = blobs(3, (96, 128))
    for stride in (4, 8, 16):
        size = (96 // stride, 128 // stride)
        theirs = [cv2.resize(m.numpy(), size[::-1], interpolation=cv2.INTER_LINEAR) for m in masks]
        assert torch.equal(shrink(masks, stride, size), torch.from_numpy(np.stack(theirs)) > 0)
        padded = shrink(masks, stride, (size[0] + 2, size[1] + 1))
        assert torch.equal(padded[:, :-2, :-1], shrink(masks, stride, size))
        assert not bool(padded[:, -2:].any())
        assert not bool(padded[:, :, -1:].any())


def test_coordinates_run_from_one_edge_to_the_other():
    x, y = coordinates(torch.zeros(2, 5, 3, 5))[1]
    assert torch.equal(x, torch.tensor([[-1.0, -0.5, 0, 0.5, 1]]).expand(3, 5))
    assert torch.equal(y, torch.tensor([[-1.0], [0], [1]]).expand(3, 5))


def test_peaks_are_not_exceeded_above_or_to_the_left():
    scores = torch.rand(1, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    kept = peaks(scores)
    for label in range(2):
        for y in range(6):
            for x in range(6):
                window = scores[0, label, max(0, y - 1) : y + 1, max(0, x - 1) : x + 1]
                value = scores[0, label, y, x]
                assert kept[0, label, y, x] == (value if value == window.max() else 0)


def square(side: int, probability: float) -> Tensor:
    mask = torch.full((20, 20), 0.1)
    mask[:side, :side] = probability
    return mask


def test_a_masks_score_is_its_class_score_times_its_mean_probability():
    masks = torch.stack([square(10, 0.8), square(3, 0.9), square(6, 0.4), square(8, 0.6)])
    scores, labels = torch.tensor([0.5, 0.9, 0.9, 0.9]), torch.tensor([0, 0, 0, 1])
    # The second is smaller than it may be, the third is nowhere probable.
    kept, found = MaskSelection().best(masks, scores, labels, torch.tensor([16, 16, 16, 16]))
    assert kept.tolist() == [3, 0]
    torch.testing.assert_close(found, torch.tensor([0.9 * 0.6, 0.5 * 0.8]))


def test_masks_of_one_class_lower_each_others_scores_by_their_overlap():
    masks = torch.stack([square(10, 1.0), square(8, 1.0)])
    scores = torch.tensor([0.9, 0.8])
    least = torch.zeros(2)
    iou = 64 / 100
    kept, found = MaskSelection(sigma=2.0).best(masks, scores, torch.tensor([0, 0]), least)
    assert kept.tolist() == [0, 1]
    torch.testing.assert_close(found, torch.tensor([0.9, 0.8 * float(np.exp(-2 * iou**2))]))
    kept, found = MaskSelection(min_score=0.5).best(masks, scores, torch.tensor([0, 0]), least)
    assert kept.tolist() == [0]


def test_masks_come_back_in_original_pixels_with_boxes_around_them():
    masks = torch.zeros(1, 8, 12)
    masks[0, 2:6, 4:8] = 1
    # 30 x 44 pixels of 32 x 48 are image, twice the size of the original.
    meta = Meta(index=0, id=0, path="picture.jpg", height=15, width=22, scale=(2.0, 2.0))
    found = MaskSelection().prediction(
        masks, torch.tensor([0.7]), torch.tensor([1]), stride=4, size=(30, 44), meta=meta
    )
    assert found["masks"].shape == (1, 15, 22)
    assert found["boxes"].tolist() == [[8, 4, 16, 12]]
    none = MaskSelection().prediction(
        masks[:0], torch.zeros(0), torch.zeros(0, dtype=torch.int64), stride=4, size=(30, 44), meta=meta
    )
    assert none["masks"].shape == (0, 15, 22)
    assert none["boxes"].shape == (0, 4)
