from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from omma.data.transforms import (
    Compose,
    FilterBoxes,
    Pad,
    PhotometricDistortion,
    RandomChoice,
    RandomCrop,
    RandomFlip,
    RandomResize,
    RasteriseMasks,
    Resize,
)
from omma.data.transforms.base import keep_instances
from omma.registry import lookup
from omma.structures import Meta, Polygons, Sample

SEEDS = st.integers(0, 10**6)
QUICK = settings(max_examples=40, deadline=None)


def make_sample(seed: int, count: int = 4, height: int = 48, width: int = 64) -> Sample:
    """Rectangles on a grid of quarter pixels, so that mirroring is exact; key points are box corners."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, (4 * width - 16, 4 * height - 16), (count, 2)) / 4
    second = np.minimum(first + rng.integers(16, 120, (count, 2)) / 4, (width, height))
    boxes = torch.tensor(np.concatenate([first, second], 1), dtype=torch.float32).reshape(count, 4)
    rings = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes.tolist()]
    size = (height, width)
    return {
        "image": tv_tensors.Image(torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8))),
        "boxes": tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        "labels": torch.arange(count),
        "masks": Polygons.from_coco(rings, size),
        "keypoints": tv_tensors.KeyPoints(boxes.reshape(count, 2, 2), canvas_size=size),
        "visibility": torch.full((count, 2), 2, dtype=torch.uint8),
        "ignored_boxes": tv_tensors.BoundingBoxes(boxes[:1].clone(), format="XYXY", canvas_size=size),
        "semantic": tv_tensors.Mask(torch.from_numpy(rng.integers(0, 5, size, dtype=np.uint8))),
        "meta": Meta(index=0, id=0, path="", height=height, width=width),
    }


def plain(sample: Sample, key: str) -> torch.Tensor:
    return sample[key].as_subclass(torch.Tensor)


def check_aligned(sample: Sample) -> None:
    """Everything is on the same canvas, and the n-th row of each key belongs to the n-th object."""
    size = tuple(sample["image"].shape[-2:])
    for key in ("boxes", "keypoints", "masks", "ignored_boxes"):
        assert tuple(sample[key].canvas_size) == size
    assert tuple(sample["semantic"].shape) == size
    lengths = {len(sample[key]) for key in ("boxes", "labels", "masks", "keypoints", "visibility")}
    assert len(lengths) == 1
    torch.testing.assert_close(plain(sample, "boxes"), sample["masks"].boxes().as_subclass(torch.Tensor))


def check_inside(sample: Sample) -> None:
    height, width = sample["image"].shape[-2:]
    for key in ("boxes", "ignored_boxes"):
        boxes = plain(sample, key)
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([width, height, width, height])).all()
        assert (boxes[:, 2:] >= boxes[:, :2]).all()


def equal(one: Sample, other: Sample) -> bool:
    return all(
        one[key].to_coco() == other[key].to_coco()
        if key == "masks"
        else torch.equal(plain(one, key), plain(other, key))
        for key in one
        if key != "meta"
    )


# Flip


@QUICK
@given(SEEDS, st.sampled_from(["horizontal", "vertical"]))
def test_flip_twice_is_the_identity(seed, direction):
    sample, flip = make_sample(seed), RandomFlip(prob=1.0, direction=direction)
    assert equal(flip(flip(sample)), sample)
    assert flip(flip(sample))["meta"] == sample["meta"]


@pytest.mark.parametrize(
    ("direction", "reference"), [("horizontal", F.horizontal_flip), ("vertical", F.vertical_flip)]
)
def test_flip_agrees_with_torchvision(direction, reference):
    sample = RasteriseMasks()(make_sample(0))
    flipped = RandomFlip(prob=1.0, direction=direction)(sample)
    for key in ("image", "boxes", "masks", "ignored_boxes", "semantic"):
        torch.testing.assert_close(plain(flipped, key), reference(sample[key]).as_subclass(torch.Tensor))


@QUICK
@given(SEEDS)
def test_flip_moves_key_points_with_the_boxes(seed):
    flipped = RandomFlip(prob=1.0)(make_sample(seed))
    check_aligned(flipped)
    corners = plain(flipped, "keypoints")
    torch.testing.assert_close(torch.cat([corners.amin(1), corners.amax(1)], 1), plain(flipped, "boxes"))


def test_only_a_horizontal_flip_is_noted():
    sample = make_sample(0)
    assert RandomFlip(prob=1.0)(sample)["meta"].flipped
    assert not RandomFlip(prob=1.0, direction="vertical")(sample)["meta"].flipped


def test_flip_happens_with_its_probability():
    torch.manual_seed(0)
    sample, flip = make_sample(0, height=8, width=8), RandomFlip(prob=0.25)
    share = sum(flip(sample)["meta"].flipped for _ in range(1000)) / 1000
    assert abs(share - 0.25) < 0.05  # 3.6 standard deviations


def test_the_sample_that_comes_in_stays_as_it_was():
    sample = make_sample(0)
    chain = [RandomFlip(prob=1.0), Resize(short=20, long=90), Pad(divisor=32), PhotometricDistortion()]
    Compose(transforms=[*chain, RandomCrop(height=20, width=20)])(sample)
    assert equal(sample, make_sample(0))


# Resize


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(480, 640, (800, 1067)), (427, 640, (800, 1199)), (640, 360, (1333, 750)), (1, 5000, (1, 1333))],
)
def test_resize_follows_the_rule_of_short_and_long_side(height, width, expected):
    sample: Sample = {"image": tv_tensors.Image(torch.zeros(3, height, width, dtype=torch.uint8))}
    assert tuple(Resize(short=800, long=1333)(sample)["image"].shape[-2:]) == expected


def test_resize_to_height_and_width():
    sample = make_sample(0)
    assert Resize(height=30, width=30, keep_ratio=False)(sample)["image"].shape == (3, 30, 30)
    assert Resize(height=30, width=32)(sample)["image"].shape == (3, 24, 32)


def test_resize_interpolates_as_torch_does_without_antialiasing():
    sample = make_sample(0)
    image = plain(Resize(height=31, width=85, keep_ratio=False)(sample), "image")
    expected = torch.nn.functional.interpolate(sample["image"][None].double(), (31, 85), mode="bilinear")[0]
    assert (image - expected).abs().max() <= 1


@QUICK
@given(SEEDS, st.integers(8, 150), st.integers(8, 150))
def test_resize_keeps_everything_aligned(seed, height, width):
    sample = make_sample(seed)
    resized = Resize(height=height, width=width, keep_ratio=False)(sample)
    check_aligned(resized)
    check_inside(resized)
    factors = torch.tensor([width / 64, height / 48])
    torch.testing.assert_close(plain(resized, "keypoints"), plain(sample, "keypoints") * factors)
    assert resized["meta"].scale == pytest.approx((width / 64, height / 48))


@QUICK
@given(SEEDS, st.integers(40, 150))
def test_rasterised_outlines_fill_their_boxes_after_a_resize(seed, short):
    resized = RasteriseMasks()(Resize(short=short, long=400)(make_sample(seed)))
    for mask, box in zip(plain(resized, "masks"), plain(resized, "boxes"), strict=True):
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        drawn = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (drawn - box).abs().max() <= 1


def test_scale_multiplies_over_two_resizes():
    sample = Resize(height=24, width=32)(Resize(height=96, width=32, keep_ratio=False)(make_sample(0)))
    assert sample["meta"].scale == pytest.approx((8 / 64, 24 / 48))


def test_masks_are_sampled_at_pixel_centres():
    sample = RasteriseMasks()(make_sample(3))
    masks = plain(Resize(height=23, width=91, keep_ratio=False)(sample), "masks")
    expected = torch.nn.functional.interpolate(sample["masks"][None].float(), (23, 91), mode="nearest-exact")
    torch.testing.assert_close(masks.float(), expected[0])


def test_a_video_is_resized_frame_by_frame():
    frames = make_sample(0)["image"].repeat(2, 1, 1, 1)
    video = Resize(height=24, width=32)({"video": tv_tensors.Video(frames)})["video"]
    image = Resize(height=24, width=32)({"image": tv_tensors.Image(frames[0])})["image"]
    assert isinstance(video, tv_tensors.Video)
    assert torch.equal(video[1], image + 0)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"short": 3},
        {"short": 9, "long": 3},
        {"short": 3, "long": 9, "keep_ratio": False},
        {"height": 0, "width": 3},
    ],
)
def test_resize_refuses_sizes_that_make_no_sense(arguments):
    with pytest.raises(ValueError, match="got"):
        Resize(**arguments)


def sizes_of(transform, draws: int = 300) -> set[tuple[int, int]]:
    torch.manual_seed(0)
    sample: Sample = {"image": tv_tensors.Image(torch.zeros(3, 10, 20, dtype=torch.uint8))}
    return {tuple(transform(sample)["image"].shape[-2:]) for _ in range(draws)}


def test_random_resize_chooses_among_its_short_sides():
    assert sizes_of(RandomResize(short=(10, 15, 40), long=50)) == {(10, 20), (15, 30), (25, 50)}


def test_random_resize_pairs_short_with_long_sides():
    assert sizes_of(RandomResize(short=(10, 20), long=(12, 40))) == {(6, 12), (20, 40)}


def test_random_resize_draws_both_ends_of_a_range():
    assert sizes_of(RandomResize(short=(10, 14), long=99, mode="range")) == {
        (n, 2 * n) for n in range(10, 15)
    }


# Crop


@QUICK
@given(SEEDS, st.integers(4, 80), st.integers(4, 80), st.sampled_from(["area", "centre"]))
def test_crop_keeps_everything_aligned(seed, height, width, keep):
    torch.manual_seed(seed)
    sample = make_sample(seed)
    cropped = RandomCrop(height=height, width=width, keep=keep)(sample)
    check_aligned(cropped)
    check_inside(cropped)
    assert tuple(cropped["image"].shape[-2:]) == (min(height, 48), min(width, 64))
    for row, label in enumerate(cropped["labels"].tolist()):
        offset = plain(sample, "keypoints")[label] - plain(cropped, "keypoints")[row]
        left, top = offset[0].int().tolist()
        window = sample["image"][:, top : top + min(height, 48), left : left + min(width, 64)]
        assert torch.equal(window, cropped["image"] + 0)


@QUICK
@given(SEEDS)
def test_crop_by_area_keeps_exactly_the_instances_that_touch_the_window(seed):
    torch.manual_seed(seed)
    sample = make_sample(seed, count=8)
    sample["image"][0] = torch.arange(48)[:, None]
    sample["image"][1] = torch.arange(64)
    cropped = RandomCrop(height=20, width=24)(sample)
    top, left = int(cropped["image"][0, 0, 0]), int(cropped["image"][1, 0, 0])
    x1, y1, x2, y2 = plain(sample, "boxes").unbind(1)
    touches = (x2 > left) & (x1 < left + 24) & (y2 > top) & (y1 < top + 20)
    assert cropped["labels"].tolist() == touches.nonzero().flatten().tolist()


@QUICK
@given(SEEDS)
def test_crop_by_centre_keeps_exactly_the_instances_centred_in_the_window(seed):
    torch.manual_seed(seed)
    sample = make_sample(seed, count=8)
    sample["image"][0] = torch.arange(48)[:, None]
    sample["image"][1] = torch.arange(64)
    cropped = RandomCrop(height=20, width=24, keep="centre")(sample)
    top, left = int(cropped["image"][0, 0, 0]), int(cropped["image"][1, 0, 0])
    x, y = plain(sample, "keypoints").mean(1).unbind(1)
    inside = (x > left) & (x < left + 24) & (y > top) & (y < top + 20)
    assert cropped["labels"].tolist() == inside.nonzero().flatten().tolist()


def test_crop_without_empty_windows_always_keeps_an_object():
    torch.manual_seed(0)
    crop = RandomCrop(height=12, width=16, allow_empty=False)
    assert all(len(crop(make_sample(seed, count=1))["boxes"]) for seed in range(50))


def test_crop_of_a_sample_without_objects_needs_none():
    cropped = RandomCrop(height=12, width=16, allow_empty=False)(make_sample(0, count=0))
    assert cropped["image"].shape == (3, 12, 16)


def test_crop_sizes_may_be_shares_and_ranges():
    torch.manual_seed(0)
    crop = RandomCrop(height=(0.25, 0.5), width=0.5, relative=True)
    heights, widths = zip(*[crop(make_sample(0))["image"].shape[-2:] for _ in range(100)])
    assert min(heights) >= 12
    assert max(heights) <= 24
    assert len(set(heights)) > 5
    assert set(widths) == {32}


@pytest.mark.parametrize("arguments", [{"height": 0, "width": 5}, {"height": (5, 3), "width": 5}])
def test_crop_refuses_sizes_that_make_no_sense(arguments):
    with pytest.raises(ValueError, match="got"):
        RandomCrop(**arguments)


# Instances


def test_keep_instances_filters_every_key_and_keeps_the_classes():
    sample = make_sample(0)
    kept = keep_instances(sample, torch.tensor([True, False, True, False]))
    check_aligned(kept)
    assert kept["labels"].tolist() == [0, 2]
    assert {key: type(value) for key, value in kept.items()} == {
        key: type(value) for key, value in sample.items()
    }


def test_keep_instances_filters_bitmaps():
    sample = RasteriseMasks()(make_sample(0))
    kept = keep_instances(sample, torch.tensor([False, True, True, False]))
    assert isinstance(kept["masks"], tv_tensors.Mask)
    assert torch.equal(plain(kept, "masks"), plain(sample, "masks")[1:3])


def test_filter_boxes_drops_what_is_narrower_or_lower_than_the_limit():
    sample = make_sample(0, count=3)
    boxes = torch.tensor([[0.0, 0, 5, 5], [0, 0, 4.9, 30], [0, 0, 30, 4.9]])
    sample["boxes"] = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(48, 64))
    assert FilterBoxes(min_size=5)(sample)["labels"].tolist() == [0]


def test_rasterise_leaves_bitmaps_as_they_are():
    sample = RasteriseMasks()(make_sample(0))
    assert RasteriseMasks()(sample)["masks"] is sample["masks"]


# Pad


def test_pad_adds_at_the_right_and_bottom_only():
    sample = make_sample(0)
    padded = Pad(divisor=50, fill=(1, 2, 3))(sample)
    check_aligned(padded)
    assert padded["image"].shape == (3, 50, 100)
    assert torch.equal(padded["image"][:, :48, :64], sample["image"] + 0)
    assert padded["image"][:, 49, 99].tolist() == [1, 2, 3]
    assert (padded["semantic"][48:] == 255).all()
    assert torch.equal(plain(padded, "boxes"), plain(sample, "boxes"))


def test_pad_to_a_least_size_leaves_larger_images_alone():
    sample = make_sample(0)
    assert Pad(height=48, width=10)(sample) is sample
    assert Pad(height=60, width=10)(sample)["image"].shape == (3, 60, 64)


def test_pad_fills_bitmaps_with_background():
    padded = Pad(divisor=50)(RasteriseMasks()(make_sample(0)))
    assert not padded["masks"][:, 48:].any()


# All of them


CHAIN = [
    RandomResize(short=(30, 90), long=200, mode="range"),
    RandomFlip(),
    RandomCrop(height=(20, 60), width=(20, 60), allow_empty=False),
    PhotometricDistortion(),
    FilterBoxes(min_size=2),
    Pad(divisor=32),
]


@QUICK
@given(SEEDS, st.integers(0, 6))
def test_a_chain_keeps_everything_aligned(seed, count):
    torch.manual_seed(seed)
    out = Compose(transforms=CHAIN)(make_sample(seed, count=count))
    assert {len(out[key]) for key in ("boxes", "labels", "masks", "keypoints", "visibility")} == {
        len(out["boxes"])
    }
    check_inside(out)
    assert out["image"].dtype == torch.uint8
    assert RasteriseMasks()(out)["masks"].shape == (len(out["boxes"]), *out["image"].shape[-2:])


def test_the_same_seed_gives_the_same_sample():
    outs = []
    for _ in range(2):
        torch.manual_seed(7)
        outs.append(Compose(transforms=CHAIN)(make_sample(1)))
    assert equal(*outs)


def test_torchvision_transforms_stand_between_ours():
    jitter = lookup("ColorJitter")(brightness=0.5)
    out = Compose(transforms=[Resize(height=24, width=32), jitter, RandomFlip(prob=1.0)])(make_sample(0))
    check_aligned(out)
    assert out["meta"].flipped


def test_each_list_of_transforms_is_chosen_about_equally_often():
    sample = make_sample(0, height=8, width=8)
    choice = RandomChoice(choices=[[RandomFlip(prob=1.0)], [], [Pad(divisor=32)]])
    torch.manual_seed(0)
    results = [choice(sample) for _ in range(300)]
    flipped = sum(result["meta"].flipped for result in results)
    padded = sum(result["image"].shape[-1] == 32 for result in results)
    assert 75 < flipped < 125
    assert 75 < padded < 125


def test_a_choice_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one list"):
        RandomChoice(choices=[])
