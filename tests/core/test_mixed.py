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
    RandomAffine,
    RandomFlip,
    RandomScaleCrop,
    Transform,
)
from omma.data.transforms.mix import paint
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
                Mosaic(height=24, width=32),
                RandomScaleCrop(height=48, width=64, ratio=(0.5, 2), crop_height=24, crop_width=32),
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
    assert dataset.sample_at(3, epoch=1)["image"].unique().numel() > 1


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


def test_painting_a_part_equals_resizing_the_whole():
    image = np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8)
    whole = cv2.resize(image, (80, 70), interpolation=cv2.INTER_LINEAR)
    part = np.zeros((40, 40, 3), np.uint8)
    paint(part, image, (70, 80), (-20, -10))
    # Warps interpolate at 32 places between two pixels.
    assert np.abs(part.astype(int) - whole[20:60, 10:50]).max() <= 8


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
