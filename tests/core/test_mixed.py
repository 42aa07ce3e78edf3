"""Mixed samples: what they show, what they depend on, and when their transforms change."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.loader import make_train_loader
from omma.data.mixed import MixedDataset, Stage
from omma.data.transforms import (
    Expand,
    FilterBoxes,
    HSVShift,
    MinIoUCrop,
    MixUp,
    Mosaic,
    Pad,
    RandomAffine,
    RandomFlip,
    RandomScaleCrop,
    RasteriseMasks,
    Transform,
)
from omma.data.transforms.picture import lay, paint
from omma.structures import Meta, Polygons, Sample

from .small_dataset import Noise


class Squares(Noise):
    """Images of one grey level each, 20 times the index, with a box in the middle."""

    def __getitem__(self, index: int) -> Sample:
        height, width = self.sizes[index].tolist()
        image = torch.full((3, height, width), 20 * index, dtype=torch.uint8)
        return sample_of(image, [[width / 4, height / 4, width / 2, height / 2]], [index], index)


@dataclass
class Loader:
    dataset: Any
    workers: int = 0
    batch_size: int = 4
    sampler: Any = None
    group_by_aspect: bool = False
    timeout: float = 60.0
    multi_size: Any = None


def sample_of(image: Tensor, boxes: list[list[float]], labels: list[int], index: int = 0) -> Sample:
    size = (image.shape[-2], image.shape[-1])
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    outlines = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes]
    return {
        "image": tv_tensors.Image(image),
        "boxes": tv_tensors.BoundingBoxes(corners, format="XYXY", canvas_size=size),  # pyright: ignore[reportCallIssue]
        "labels": torch.tensor(labels),
        "masks": Polygons.from_coco(outlines, size),
        "meta": Meta(index, index, "", *size),
    }


def outlines(sample: Sample) -> Polygons:
    masks = sample.get("masks")
    assert isinstance(masks, Polygons)
    return masks


def noise_sample(height: int = 40, width: int = 60) -> Sample:
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    return sample_of(image, [[10, 5, 30, 25], [40, 20, 55, 38]], [0, 1])


def squares(**options: Any) -> MixedDataset:
    stages = (
        Stage(
            transforms=[
                Mosaic(
                    height=24,
                    width=32,
                    window=RandomScaleCrop(
                        height=48, width=64, ratio=(0.5, 2), crop_height=24, crop_width=32
                    ),
                ),
                RandomFlip(),
                MixUp(height=24, width=32, ratio=(1, 1), alike=True, prob=0.5),
            ]
        ),
        Stage(transforms=[FilterBoxes()], from_epoch=2),
    )
    return MixedDataset(dataset=Squares([(24, 32)] * 12), stages=stages, **options)


def batches(dataset: MixedDataset, count: int, **options: Any) -> list[Any]:
    start = options.pop("start", 0)
    loader = make_train_loader(Loader(dataset, **options), seed=3, start=start)
    return [
        [(image.tolist(), s["boxes"].tolist(), s["labels"].tolist()) for image, s in zip(b.images, b.samples)]
        for b in islice(loader, count)
    ]


@pytest.mark.parametrize("partners", ["batch", "any"])
def test_neither_workers_nor_what_is_kept_nor_a_resumed_run_change_samples(partners):
    straight = batches(squares(partners=partners), 5)
    assert batches(squares(partners=partners), 5, workers=2) == straight
    assert batches(squares(partners=partners, kept=1), 5) == straight
    assert batches(squares(partners=partners), 2, start=3) == straight[3:]


def test_partners_are_of_the_batch():
    loader = make_train_loader(Loader(squares(partners="batch")), seed=0)
    for batch in islice(loader, 3):
        own = {meta.index for meta in batch.metas}
        assert own.issuperset(torch.cat([s["labels"] for s in batch.samples]).tolist())


def test_later_epochs_have_the_transforms_of_their_stage():
    dataset = squares()
    assert torch.equal(dataset.sample_at(3, epoch=2)["image"], dataset.dataset[3]["image"])
    assert any(dataset.sample_at(i, epoch=1)["image"].unique().numel() > 1 for i in range(4))


@pytest.mark.parametrize("starts", [[], [1], [0, 5, 5]])
def test_stages_must_begin_at_zero_and_rise(starts):
    with pytest.raises(ValueError, match="stages must begin at from_epoch 0 and rise"):
        MixedDataset(
            dataset=Squares([(4, 4)]), stages=[Stage(transforms=(), from_epoch=start) for start in starts]
        )


def test_a_mosaic_has_four_samples_around_its_centre():
    data = Squares([(24, 32)] * 5)
    others = iter([data[2], data[3], data[4]])
    mixed = Mosaic(height=24, width=32, centre=(1.0, 1.0)).mix(data[1], lambda: next(others))
    levels = mixed["image"][0]
    assert [int(levels[y, x]) for y, x in ((2, 2), (2, 60), (40, 2), (40, 60))] == [20, 40, 60, 80]
    assert mixed["labels"].tolist() == [1, 2, 3, 4]
    assert mixed["boxes"].tolist() == [
        [8, 6, 16, 12],
        [40, 6, 48, 12],
        [8, 30, 16, 36],
        [40, 30, 48, 36],
    ]
    assert torch.equal(outlines(mixed).boxes().as_subclass(Tensor), mixed["boxes"].as_subclass(Tensor))


def test_mixed_up_pictures_are_their_mean():
    data = Squares([(24, 32)] * 5)
    mixed = MixUp(height=24, width=32, ratio=(1, 1), flip_prob=0).mix(data[1], lambda: data[3])
    assert mixed["image"].unique().tolist() == [40]
    assert mixed["labels"].tolist() == [1, 3]


def bilinear(image: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """(H, W, 3) float64 values of an image at places, in pixels from its corner."""
    y, x = (np.clip(v - 0.5, 0, side - 1) for v, side in zip((y, x), image.shape))
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = np.minimum(top + 1, image.shape[0] - 1), np.minimum(left + 1, image.shape[1] - 1)
    down, across = (y - top)[:, None, None], (x - left)[None, :, None]
    rows = image[top] * (1 - down) + image[below] * down
    return rows[:, left] * (1 - across) + rows[:, right] * across


def test_a_cut_part_lies_where_the_whole_would_and_its_objects_with_it():
    rng = np.random.default_rng(0)
    for _ in range(40):
        image = rng.integers(0, 256, (int(rng.integers(1, 60)), int(rng.integers(1, 60)), 3), np.uint8)
        sample = sample_of(torch.from_numpy(image).permute(2, 0, 1), [], [])
        (height, width), (top, left) = rng.integers(1, 200, 2).tolist(), rng.integers(-150, 40, 2).tolist()
        part = lay(sample, (top, left, top + height, left + width), (0, 0, 50, 70))
        picture = np.zeros((50, 70, 3), np.uint8)
        paint(picture, image, part)
        low_y, high_y = max(top, 0), min(top + height, 50)
        low_x, high_x = max(left, 0), min(left + width, 70)
        if low_y >= high_y or low_x >= high_x:
            assert not picture.any()
            continue
        y, x = np.arange(low_y, high_y) + 0.5, np.arange(low_x, high_x) + 0.5
        own_y, own_x = (y - part.rows.shift) / part.rows.scale, (x - part.columns.shift) / part.columns.scale
        assert np.abs((own_y - (y - top) * len(image) / height) * height / len(image)).max() <= 1
        assert np.abs((own_x - (x - left) * image.shape[1] / width) * width / image.shape[1]).max() <= 1
        found = picture[low_y:high_y, low_x:high_x]
        assert np.abs(found - bilinear(image, own_y, own_x)).max() <= 2
        picture[low_y:high_y, low_x:high_x] = 0
        assert not picture.any()


def smooth(index: int, height: int, width: int) -> Sample:
    """An image of slow waves, so that half a pixel changes little, with two objects."""
    y, x = torch.meshgrid(torch.arange(height) / 25, torch.arange(width) / 25, indexing="ij")
    waves = [(torch.sin(y * a + index) + torch.cos(x * b)) * 60 + 127 for a, b in ((1, 2), (2, 1), (1, 1))]
    boxes = [[4.0, 5.0, width / 2, height / 2], [width / 3, height / 3, width - 3.0, height - 2.0]]
    return sample_of(torch.stack(waves).to(torch.uint8), boxes, [index, index + 10], index)


def test_a_window_shows_what_it_would_of_the_whole_mosaic():
    window = RandomScaleCrop(height=120, width=160, ratio=(0.3, 2), crop_height=60, crop_width=80)
    compared = 0
    for seed in range(30):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        sizes = [(61, 83), (40, 90), (120, 70), (33, 35)]
        inner = Mosaic(height=60, width=80, window=window)
        others = iter([smooth(i, *size) for i, size in enumerate(sizes[1:], 1)])
        quick = inner.mix(smooth(0, *sizes[0]), lambda others=others: next(others))
        torch.set_rng_state(state)
        others = iter([smooth(i, *size) for i, size in enumerate(sizes[1:], 1)])
        plain = window(
            Mosaic(height=60, width=80).mix(smooth(0, *sizes[0]), lambda others=others: next(others))
        )
        assert quick["image"].shape == plain["image"].shape
        apart = (quick["image"].int() - plain["image"].int()).abs()
        # Along the seams a row of pixels may come from the neighbour.
        assert (apart > 12).float().mean() < 0.06
        large = {
            int(label): box
            for label, box in zip(plain["labels"], plain["boxes"].as_subclass(Tensor))
            if (box[2:] - box[:2]).min() > 3
        }
        boxes = dict(zip(quick["labels"].tolist(), quick["boxes"].as_subclass(Tensor)))
        for label, box in large.items():
            torch.testing.assert_close(boxes[label], box, atol=2, rtol=0)
            compared += 1
    assert compared > 50


def test_an_affine_window_needs_only_what_it_shows():
    window = RandomAffine(height=60, width=80, scale=(0.3, 2))
    for seed in range(30):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        # At their own size, so that cutting them moves nothing.
        samples = [smooth(i, 60, 80) for i in range(4)]
        others = iter(samples[1:])
        quick = Mosaic(height=60, width=80, window=window).mix(samples[0], lambda others=others: next(others))
        torch.set_rng_state(state)
        others = iter(samples[1:])
        plain = window(Mosaic(height=60, width=80).mix(samples[0], lambda others=others: next(others)))
        assert torch.equal(quick["image"], plain["image"])
        assert torch.equal(quick["boxes"], plain["boxes"])
        assert torch.equal(quick["labels"], plain["labels"])
        assert torch.equal(outlines(quick).rasterise(), outlines(plain).rasterise())


def test_samples_that_become_no_mosaic_pass_through_its_window():
    torch.manual_seed(0)
    window = RandomScaleCrop(height=40, width=60, ratio=(1, 1), crop_height=20, crop_width=30)
    done = Mosaic(height=40, width=60, prob=0, window=window).mix(noise_sample(), lambda: noise_sample())
    assert done["image"].shape == (3, 20, 30)


def test_windows_that_want_an_object_see_one():
    window = RandomScaleCrop(
        height=80, width=120, ratio=(2, 2), crop_height=40, crop_width=60, allow_empty=False, tries=200
    )
    for seed in range(10):
        torch.manual_seed(seed)
        assert len(window(noise_sample())["boxes"])
        mixed = Mosaic(height=40, width=60, window=window).mix(noise_sample(), lambda: noise_sample())
        assert len(mixed["boxes"])


def test_outlines_cut_by_the_mosaic_do_not_come_back_on_a_larger_canvas():
    for seed in range(12):
        torch.manual_seed(seed)
        window = RandomScaleCrop(height=48, width=64, ratio=(0.5, 0.9), crop_height=48, crop_width=64)
        full = sample_of(torch.full((3, 24, 32), 200, dtype=torch.uint8), [[0, 0, 32, 24]], [0])
        mixed = Mosaic(height=24, width=32, fill=0, window=window).mix(full, lambda full=full: full)
        done = RasteriseMasks()(Pad(height=70, width=90)(mixed))
        masks = done["masks"].as_subclass(Tensor)
        assert not masks[:, done["image"][0] == 0].any()
        # All of the picture shows some object.
        assert masks.any(dim=0).sum() >= 0.97 * (done["image"][0] > 0).sum()


def test_key_points_move_with_their_image():
    def with_points(index: int) -> Sample:
        sample = smooth(index, 24, 32)
        points = sample["boxes"].as_subclass(Tensor).reshape(2, 2, 2).clone()
        size = (24, 32)
        return {**sample, "keypoints": tv_tensors.KeyPoints(points, canvas_size=size)}  # pyright: ignore[reportCallIssue]

    mixed = Mosaic(height=48, width=64, centre=(1, 1)).mix(with_points(0), lambda: with_points(1))
    points = mixed["keypoints"].as_subclass(Tensor)
    torch.testing.assert_close(points.reshape(8, 4), mixed["boxes"].as_subclass(Tensor))


def test_what_cannot_be_mixed_is_refused():
    sample: Sample = {**noise_sample(), "semantic": tv_tensors.Mask(torch.zeros(40, 60, dtype=torch.uint8))}
    with pytest.raises(ValueError, match="samples with 'semantic' can't be mixed"):
        MixUp(height=40, width=60).mix(sample, noise_sample)


def test_a_scaled_window_moves_its_boxes_with_it():
    torch.manual_seed(0)
    sample = noise_sample()
    transform = RandomScaleCrop(height=80, width=120, ratio=(1, 1), crop_height=50, crop_width=70)
    done = transform(sample)
    assert done["image"].shape == (3, 50, 70)
    whole = cv2.resize(sample["image"].permute(1, 2, 0).numpy(), (120, 80))
    found = done["image"].permute(1, 2, 0).numpy().astype(int)
    near = [(np.abs(whole[y : y + 50, x : x + 70] - found).max(), y, x) for y in range(31) for x in range(51)]
    least, top, left = min(near)
    assert least <= 8
    expected = sample["boxes"].as_subclass(Tensor) * 2 - torch.tensor([left, top, left, top])
    expected = expected.clamp(min=0).minimum(torch.tensor([70.0, 50, 70, 50]))
    expected = expected[(expected[:, 2:] > expected[:, :2]).all(dim=1)]
    torch.testing.assert_close(done["boxes"].as_subclass(Tensor), expected)


def test_affine_boxes_hold_the_pixels_of_their_objects():
    torch.manual_seed(0)
    for _ in range(20):
        image = torch.zeros(3, 60, 80, dtype=torch.uint8)
        image[:, 20:40, 30:60] = 255
        done = RandomAffine(height=60, width=80)(sample_of(image, [[30, 20, 60, 40]], [0]))
        y, x = (done["image"][0] > 200).nonzero().T
        ((x1, y1, x2, y2),) = done["boxes"].tolist()
        assert x1 - 1 <= x.min() <= x.max() <= x2
        assert y1 - 1 <= y.min() <= y.max() <= y2
        assert torch.equal(
            outlines(done).boxes().as_subclass(Tensor).round(), done["boxes"].as_subclass(Tensor).round()
        )


def test_windows_overlap_their_objects_enough():
    torch.manual_seed(0)
    for _ in range(30):
        sample = noise_sample()
        done = MinIoUCrop(min_ious=(0.5,), min_size=0.3)(sample)
        assert 1 <= len(done["boxes"]) <= 2
        height, width = done["image"].shape[-2:]
        assert done["boxes"].as_subclass(Tensor)[:, 2:].le(torch.tensor([width, height])).all()


def test_expanded_images_lie_on_the_fill():
    torch.manual_seed(0)
    sample = noise_sample()
    done = Expand(ratio=(2, 2), fill=(1, 2, 3), prob=1)(sample)
    assert done["image"].shape == (3, 80, 120)
    left, top = (done["boxes"][0, :2] - sample["boxes"][0, :2]).int().tolist()
    assert torch.equal(done["image"][:, top : top + 40, left : left + 60], sample["image"])
    outside = done["image"].clone()
    outside[:, top : top + 40, left : left + 60] = torch.tensor([1, 2, 3])[:, None, None]
    assert torch.equal(outside.flatten(1).unique(dim=1)[:, 0], torch.tensor([1, 2, 3], dtype=torch.uint8))


def test_shifts_of_value_change_grey_by_whole_levels():
    torch.manual_seed(1)
    grey = sample_of(torch.full((3, 4, 4), 100, dtype=torch.uint8), [], [])
    shift: Transform = HSVShift(hue=0, saturation=0, value=30)
    found = {int(shift(grey)["image"].unique()) for _ in range(60)}
    assert 100 in found
    assert len(found) > 10
    assert min(found) >= 70
    assert max(found) <= 130


def test_bitmaps_and_outlines_mix_to_bitmaps():
    square = sample_of(torch.zeros(3, 24, 32, dtype=torch.uint8), [[8, 6, 16, 12]], [0])
    bitmap: Sample = {**square, "masks": outlines(square).rasterise()}
    mixed = MixUp(height=48, width=64, ratio=(1, 1), flip_prob=0).mix(
        sample_of(torch.zeros(3, 48, 64, dtype=torch.uint8), [[0, 0, 4, 4]], [1]), lambda: bitmap
    )
    assert mixed["masks"].shape == (2, 48, 64)
    assert mixed["masks"].sum(dim=(1, 2)).tolist() == [16, 16 * 12]
    assert mixed["masks"][1, 12:24, 16:32].all()
