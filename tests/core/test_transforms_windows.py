"""Windows around centres, shifts, holes, pasted objects, sizes of batches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import tv_tensors

from omma.data.loader import make_train_loader
from omma.data.multi_size import MultiSize
from omma.data.transforms import (
    BoxesOfMasks,
    Compose,
    CopyPaste,
    CutOut,
    Pad,
    RandomCentreCrop,
    RandomCrop,
    RandomResize,
    RandomShift,
    RasteriseMasks,
)
from omma.data.transforms.centre_crop import centre_border
from omma.structures import Meta, Polygons, Sample

from .small_dataset import Noise


def sample_of(image: Tensor, boxes: list[list[float]]) -> Sample:
    size = (image.shape[-2], image.shape[-1])
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    rings = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes]
    return {
        "image": tv_tensors.Image(image),
        "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size),  # pyright: ignore[reportCallIssue]
        "labels": torch.arange(len(boxes)),
        "masks": Polygons.from_coco(rings, size),
        "meta": Meta(0, 0, "", *size),
    }


def blocks(seed: int, height: int, width: int, count: int = 3) -> Sample:
    """Bright blocks on noise that is dark; each box goes around its block, whole pixels."""
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.integers(1, 40, (3, height, width), np.uint8))
    boxes = []
    for i in range(count):
        y, x = int(rng.integers(0, height - 8)), int(rng.integers(0, width - 8))
        h, w = int(rng.integers(4, height - y)), int(rng.integers(4, width - x))
        image[:, y : y + h, x : x + w] = 200 + i
        boxes.append([float(x), float(y), float(x + w), float(y + h)])
    return sample_of(image, boxes)


@pytest.mark.parametrize(
    ("side", "border"),
    [(1000, 128), (257, 128), (256, 64), (200, 64), (128, 32), (100, 32), (40, 16), (1, 0)],
)
def test_centres_keep_the_largest_border_that_leaves_room(side, border):
    # 128, divided by two until twice as much is less than the side.
    assert centre_border(128, side) == border
    assert 2 * border < side


@given(st.integers(0, 10**6), st.integers(9, 40), st.integers(9, 40), st.sampled_from([0.5, 1.0, 1.5]))
@settings(max_examples=30, deadline=None)
def test_a_window_around_a_centre_shows_the_image_there(seed, height, width, ratio):
    torch.manual_seed(seed)
    sample = blocks(seed, height, width)
    done = RandomCentreCrop(height=16, width=24, ratios=[ratio], border=8, fill=(250, 0, 0))(sample)
    assert done["image"].shape == (3, 16, 24)
    window = (int(16 * ratio), int(24 * ratio))
    # The reference draws every window that there may be: the image on a canvas of the fill, cut and resized.
    canvas = np.empty((height + 2 * window[0], width + 2 * window[1], 3), np.uint8)
    canvas[:] = (250, 0, 0)
    canvas[window[0] :, window[1] :][:height, :width] = sample["image"].permute(1, 2, 0).numpy()
    found = done["image"].permute(1, 2, 0).numpy().astype(int)
    best, place = np.inf, (0, 0)
    borders = [centre_border(8, side) for side in (height, width)]
    for cy in range(borders[0], max(borders[0] + 1, height - borders[0])):
        for cx in range(borders[1], max(borders[1] + 1, width - borders[1])):
            top, left = cy - window[0] // 2, cx - window[1] // 2
            cut = canvas[top + window[0] :, left + window[1] :][: window[0], : window[1]]
            apart = np.abs(cv2.resize(cut, (24, 16)).astype(int) - found).mean()
            if apart < best:
                best, place = apart, (top, left)
    # Exact at its own size; else pixels lie up to half a pixel apart, and blend with the fill at the border.
    assert best <= (0 if ratio == 1 else 25)
    if ratio != 1:
        return
    moved = sample["boxes"].as_subclass(Tensor) - torch.tensor([place[1], place[0]] * 2)
    middle = (moved[:, :2] + moved[:, 2:]) / 2
    kept = ((middle > 0) & (middle < torch.tensor([24, 16]))).all(dim=1)
    expected = moved[kept].clamp(min=0).minimum(torch.tensor([24.0, 16, 24, 16]))
    if kept.any():
        assert torch.equal(done["boxes"].as_subclass(Tensor), expected)
        assert torch.equal(done["labels"], torch.arange(3)[kept])


def test_windows_around_centres_are_drawn_until_one_keeps_an_object():
    image = torch.zeros(3, 200, 200, dtype=torch.uint8)
    for seed in range(20):
        torch.manual_seed(seed)
        done = RandomCentreCrop(height=60, width=60, border=20, tries=2000)(
            sample_of(image, [[0, 0, 40, 40]])
        )
        assert len(done["boxes"]) == 1
        assert done["image"].shape == (3, 60, 60)
        assert RandomCentreCrop(height=60, width=60)(sample_of(image, []))["image"].shape == (3, 60, 60)


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_shifted_pixels_boxes_and_outlines_move_alike(seed):
    torch.manual_seed(seed)
    sample = blocks(seed, 40, 50)
    done = RandomShift(prob=1, most=9)(sample)
    image, old = done["image"].as_subclass(Tensor), sample["image"].as_subclass(Tensor)
    assert image.shape == old.shape
    found = [(y, x) for y in range(-9, 10) for x in range(-9, 10) if torch.equal(moved(old, y, x), image)]
    assert len(found) == 1
    ((y, x),) = found
    boxes = sample["boxes"].as_subclass(Tensor) + torch.tensor([x, y, x, y])
    boxes = boxes.clamp(min=0).minimum(torch.tensor([50.0, 40, 50, 40]))
    large = (boxes[:, 2:] - boxes[:, :2] > 1).all(dim=1)
    assert torch.equal(done["boxes"].as_subclass(Tensor), boxes[large])
    masks = RasteriseMasks()(done)["masks"].as_subclass(Tensor)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes[large].int().tolist()):
        expected = torch.zeros(40, 50, dtype=torch.uint8)
        expected[y1:y2, x1:x2] = 1
        assert torch.equal(mask, expected)


def moved(image: Tensor, y: int, x: int) -> Tensor:
    """By whole pixels, black beside."""
    out = torch.nn.functional.pad(image, (9, 9, 9, 9))
    return torch.roll(out, (y, x), (1, 2))[:, 9:-9, 9:-9]


def test_a_shift_that_would_lose_all_objects_is_not_made():
    image = torch.full((3, 20, 20), 7, dtype=torch.uint8)
    sample = sample_of(image, [])
    assert RandomShift(prob=1)(sample) is sample
    assert RandomShift(prob=0)(sample_of(image, [[0, 0, 20, 20]]))["image"].min() == 7


def test_holes_have_the_given_shapes_and_number():
    image = torch.full((3, 60, 80), 9, dtype=torch.uint8)
    for seed in range(20):
        torch.manual_seed(seed)
        sample = sample_of(image.clone(), [[0, 0, 20, 20]])
        done = CutOut(holes=(1, 1), shapes=[(10, 6), (0.0, 0.0)], fill=(1, 2, 3))(sample)
        hole = (done["image"].as_subclass(Tensor) != 9).any(dim=0)
        assert sample["image"].eq(9).all()
        y, x = hole.nonzero().T
        if len(y):
            inside = hole[y.min() : y.max() + 1, x.min() : x.max() + 1]
            assert inside.all()
            assert inside.shape[0] == 10 or y.max() == 59
            assert inside.shape[1] == 6 or x.max() == 79
            assert done["image"][:, y[0], x[0]].tolist() == [1, 2, 3]
        relative = CutOut(holes=(4, 4), shapes=[(0.1, 0.1)], relative=True)(sample)["image"]
        assert 0 < relative.eq(0).all(dim=0).sum() <= 4 * 6 * 8


def test_pasted_objects_lie_on_top_and_hide_what_is_below():
    below = sample_of(torch.full((3, 40, 40), 10, dtype=torch.uint8), [[0, 0, 30, 30], [0, 30, 4, 40]])
    above = sample_of(torch.full((3, 40, 40), 200, dtype=torch.uint8), [[0, 20, 40, 40]])
    seen = set()
    for seed in range(12):
        torch.manual_seed(seed)
        done = paste(below, above)
        image, masks = done["image"][0], done["masks"].as_subclass(Tensor)
        seen.add(len(masks))
        if len(masks) == 2 and done["labels"].tolist() == [0, 1]:  # nothing was pasted
            assert image.eq(10).all()
            continue
        # The first object is cut to rows 0 to 20; the second one is gone.
        assert done["boxes"].tolist() == [[0, 0, 30, 20], [0, 20, 40, 40]]
        assert image[20:].eq(200).all()
        assert image[:20].eq(10).all()
        assert masks.sum(dim=(1, 2)).tolist() == [600, 800]
        assert not masks.prod(dim=0).any()


def paste(below: Sample, above: Sample) -> Sample:
    return CopyPaste(most=1, box_change=5, min_area=300).mix(below, lambda: above)


def test_copy_paste_draws_every_number_of_objects():
    below = sample_of(torch.zeros(3, 40, 40, dtype=torch.uint8), [])
    above = sample_of(
        torch.ones(3, 40, 40, dtype=torch.uint8), [[i * 10, 0, i * 10 + 8, 9] for i in range(4)]
    )
    torch.manual_seed(0)
    counts = {len(CopyPaste(most=3).mix(below, lambda: above)["boxes"]) for _ in range(60)}
    assert counts == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {k: v for k, v in s.items() if k != "masks"}, "needs samples with boxes and masks"),
        (lambda s: Pad(height=50)(s), "needs samples of one size"),
        (lambda s: {**s, "visibility": torch.zeros(0, 3)}, "doesn't know what becomes of visibility"),
    ],
)
def test_samples_that_cannot_be_pasted_are_refused(change, words):
    sample = sample_of(torch.zeros(3, 40, 40, dtype=torch.uint8), [])
    with pytest.raises(ValueError, match=words):
        CopyPaste().mix(sample, lambda: change(sample))


@pytest.mark.parametrize("bitmaps", [False, True])
def test_boxes_of_masks_fit_what_is_left_of_them(bitmaps):
    triangle = Polygons.from_coco([[[0, 0, 40, 0, 0, 40]], [[30, 30, 39, 30, 39, 39]]], (40, 40))
    sample = sample_of(torch.zeros(3, 40, 40, dtype=torch.uint8), [[0, 0, 40, 40], [30, 30, 39, 39]])
    sample["masks"] = triangle
    done = RandomCrop(height=1.0, width=0.5, relative=True, allow_empty=True)
    torch.manual_seed(3)
    cropped = done(sample)
    cropped = RasteriseMasks()(cropped) if bitmaps else cropped
    tight = BoxesOfMasks()(cropped)["boxes"].as_subclass(Tensor)
    masks = RasteriseMasks()(cropped)["masks"].as_subclass(Tensor)
    for box, mask in zip(tight, masks[masks.flatten(1).any(dim=1).bool()]):
        y, x = mask.nonzero().T
        expected = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]).float()
        torch.testing.assert_close(box, expected, atol=1.5, rtol=0)


def test_large_scale_jitter_scales_by_a_tenth_to_two_onto_a_square_canvas():
    jitter = RandomResize(short=(102, 2048), long=(102, 2048), mode="range")
    chain = Compose(transforms=[jitter, RandomCrop(height=1024, width=1024), Pad(height=1024, width=1024)])
    sample = sample_of(torch.full((3, 30, 40), 5, dtype=torch.uint8), [[0, 0, 40, 30]])
    torch.manual_seed(0)
    factors = []
    for _ in range(12):
        torch_state = torch.get_rng_state()
        done = chain(sample)
        assert done["image"].shape == (3, 1024, 1024)
        torch.set_rng_state(torch_state)
        factors.append(max(jitter(sample)["image"].shape) / 1024)
    assert 0.1 <= min(factors) < 0.6
    assert 1.2 < max(factors) <= 2


SIZES = MultiSize(low=64, high=160, divisor=32, every=3)


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_sizes_of_batches_are_in_range_and_hold_for_a_while(seed, batch, height, width):
    high, wide = SIZES.size(height, width, batch=batch, seed=seed)
    assert SIZES.size(height, width, batch=batch // 3 * 3, seed=seed) == (high, wide)
    if batch < 3:
        assert (high, wide) == (height, width)
        return
    assert 64 <= high <= 160
    assert high % 32 == 0
    assert wide % 32 == 0 or wide == 1
    assert wide <= max(32, high * width / height)


def test_sizes_of_batches_are_all_drawn():
    found = {SIZES.size(90, 90, batch=3 * turn, seed=1) for turn in range(1, 60)}
    assert found == {(side, side) for side in (64, 96, 128, 160)}


@dataclass
class Loader:
    dataset: Any
    workers: int = 0
    batch_size: int = 2
    sampler: Any = None
    group_by_aspect: bool = False
    timeout: float = 60.0
    multi_size: Any = SIZES


def test_batches_of_many_sizes_are_the_same_after_a_resume_and_with_workers():
    data = Noise([(24, 24), (24, 12)] * 5)
    straight = [batch.images for batch in islice(make_train_loader(Loader(data), seed=3), 14)]
    assert len({image.shape for images in straight for image in images}) >= 4
    for other, start in (
        (make_train_loader(Loader(data), seed=3, start=8), 8),
        (make_train_loader(Loader(data, workers=2), seed=3), 0),
    ):
        for images, expected in zip((batch.images for batch in islice(other, 14 - start)), straight[start:]):
            assert all(torch.equal(one, two) for one, two in zip(images, expected, strict=True))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"low": 480, "high": 400}, "divisor <= low <= high"),
        ({"low": 480, "high": 810}, "multiples of 32"),
        ({"low": 480, "high": 800, "every": 0}, "every and divisor of at least 1"),
    ],
)
def test_sizes_that_cannot_be_drawn_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        MultiSize(**options)
