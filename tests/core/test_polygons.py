from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from omma.structures import Polygons

CANVAS = (60, 90)


def star(rng: np.random.Generator, canvas: tuple[int, int] = CANVAS, outside: float = 0.0) -> list[float]:
    height, width = canvas
    low, high = np.array([-outside, -outside]), np.array([width + outside, height + outside])
    angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 30)))
    radius = rng.uniform(3, 25) * rng.uniform(0.5, 1, len(angle))
    ring = rng.uniform(low, high) + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return ring.clip(low, high).astype(np.float32).ravel().tolist()


def stars(seed: int, count: int = 5, outside: float = 0.0) -> Polygons:
    rng = np.random.default_rng(seed)
    return Polygons.from_coco(
        [[star(rng, outside=outside) for _ in range(rng.integers(1, 4))] for _ in range(count)], CANVAS
    )


def reference(outlines: Polygons) -> np.ndarray:
    height, width = outlines.canvas_size
    encoded = [coco.merge(coco.frPyObjects(rings, height, width)) for rings in outlines.to_coco()]
    return np.stack([coco.decode(rle) for rle in encoded])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 15.0]))
def test_rasterise_fills_the_pixels_that_pycocotools_fills(seed, outside):
    outlines = stars(seed, outside=outside)
    # Windows move coordinates by whole pixels; a vertex on a rounding tie may then fall to the other side.
    assert (outlines.rasterise().numpy() != reference(outlines)).sum() <= 2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_clipped_outlines_are_what_lies_on_the_canvas(seed):
    outlines = stars(seed, outside=20)
    clipped = outlines.clipped()
    assert len(clipped) == len(outlines)
    points = clipped.as_subclass(torch.Tensor)
    assert ((points >= 0) & (points <= torch.tensor([CANVAS[1], CANVAS[0]]))).all()
    larger = (CANVAS[0] + 40, CANVAS[1] + 40)
    moved = Polygons.wrap(points + 20, clipped, canvas_size=larger).rasterise().numpy()
    inside = moved[:, 20:-20, 20:-20]
    expected = outlines.rasterise().numpy()
    # A crossing with the border lies between pixels.
    assert (inside != expected).sum() <= 0.02 * expected.sum() + 12
    moved[:, 20:-20, 20:-20] = 0
    assert not moved.any()


def test_clipping_keeps_the_corner_that_no_edge_crosses():
    outlines = Polygons.from_coco([[[-10, 5, 5, -10, 20, -10, 20, 20, -10, 20]]], (10, 10)).clipped()
    assert int(outlines.rasterise().sum()) == 100


def test_outlines_on_the_canvas_are_clipped_to_themselves():
    outlines = stars(3)
    assert outlines.clipped() is outlines
    assert len(Polygons.from_coco([[[-9, -9, -2, -9, -2, -2]], []], (12, 10)).clipped()) == 2


def test_rasterise_of_a_rectangle_on_the_grid_is_exact():
    outlines = Polygons.from_coco([[[2, 3, 7, 3, 7, 9, 2, 9]]], (12, 10))
    expected = np.zeros((1, 12, 10), np.uint8)
    expected[0, 3:9, 2:7] = 1
    np.testing.assert_array_equal(outlines.rasterise().numpy(), expected)


def test_rasterise_gives_an_empty_mask_outside_the_canvas_and_without_rings():
    outlines = Polygons.from_coco([[[-9, -9, -2, -9, -2, -2]], []], (12, 10))
    masks = outlines.rasterise()
    assert isinstance(masks, tv_tensors.Mask)
    assert masks.shape == (2, 12, 10)
    assert not masks.any()


def test_rasterise_of_no_instances_has_no_rows():
    assert Polygons.from_coco([], (4, 5)).rasterise().shape == (0, 4, 5)


def test_coco_form_comes_back_unchanged():
    given_rings = [
        [[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]],
        [[1.0, 1.0, 2.0, 1.0, 2.0, 2.0], [5.0, 5.0, 6.0, 5.0, 6.0, 7.0]],
    ]
    assert Polygons.from_coco(given_rings, (9, 9)).to_coco() == given_rings


def test_rings_that_enclose_nothing_are_left_out():
    outlines = Polygons.from_coco([[[0, 0, 1, 1]], [[0, 0, 1, 0, 1, 1], []]], (9, 9))
    assert outlines.rings_per_instance.tolist() == [0, 1]


@pytest.mark.parametrize(("sizes", "counts"), [([3, 3], [2]), ([4], [2])], ids=["vertices", "rings"])
def test_sums_that_do_not_fit_are_refused(sizes, counts):
    with pytest.raises(ValueError, match="sum to"):
        Polygons(torch.zeros(4, 2), ring_sizes=sizes, rings_per_instance=counts, canvas_size=(9, 9))


def test_an_odd_ring_is_refused():
    with pytest.raises(ValueError, match="7 numbers"):
        Polygons.from_coco([[[0, 0, 1, 0, 1, 1, 2]]], (9, 9))


@pytest.mark.parametrize(
    "keep",
    [torch.tensor([True, False, True, False, True]), torch.tensor([4, 0, 2]), [3], slice(0, 0), slice(1, 4)],
    ids=["mask", "order", "one", "none", "slice"],
)
def test_selection_follows_the_indexing_of_a_list(keep):
    outlines = stars(3)
    everything = outlines.to_coco()
    picked = np.arange(len(everything))[keep.numpy() if isinstance(keep, torch.Tensor) else keep]
    expected = [everything[index] for index in np.asarray(picked, int)]
    assert outlines.select(keep).to_coco() == expected
    assert len(outlines[keep]) == len(expected)


def test_boxes_are_the_extent_of_each_instance_inside_the_canvas():
    outlines = stars(5, outside=15.0)
    expected = []
    for rings in outlines.to_coco():
        points = np.concatenate([np.array(ring).reshape(-1, 2) for ring in rings])
        expected.append(np.clip([*points.min(0), *points.max(0)], 0, [90, 60, 90, 60]))
    np.testing.assert_allclose(outlines.boxes().numpy(), expected, rtol=1e-6)


def test_boxes_of_instances_without_rings_are_zero():
    assert Polygons.from_coco([[], [[1, 1, 3, 1, 3, 4]]], (9, 9)).boxes().tolist() == [
        [0, 0, 0, 0],
        [1, 1, 3, 4],
    ]


@pytest.mark.parametrize(
    "copied",
    [
        lambda o: pickle.loads(pickle.dumps(o)),
        copy.deepcopy,
        torch.Tensor.clone,
        torch.Tensor.detach,
        lambda o: o.to(torch.float64),
    ],
    ids=["pickle", "deepcopy", "clone", "detach", "to"],
)
def test_copies_keep_class_and_structure(copied):
    outlines = stars(1)
    other = copied(outlines)
    assert type(other) is Polygons
    assert other.canvas_size == CANVAS
    assert other.to_coco() == outlines.to_coco()


def test_arithmetic_gives_plain_tensors():
    assert type(stars(1) + 1) is torch.Tensor


def test_worker_processes_hand_outlines_over():
    data = [stars(seed) for seed in range(2)]
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=1)  # pyright: ignore[reportArgumentType]
    assert [outlines.to_coco() for outlines in loader] == [outlines.to_coco() for outlines in data]


GEOMETRY = {
    "resize": lambda x: F.resize(x, [30, 180]),
    "horizontal_flip": F.horizontal_flip,
    "vertical_flip": F.vertical_flip,
    "pad": lambda x: F.pad(x, [3, 4, 5, 6]),
    "crop": lambda x: F.crop(x, 5, 10, 40, 50),
    "center_crop": lambda x: F.center_crop(x, [40, 50]),
    "resized_crop": lambda x: F.resized_crop(x, 5, 10, 40, 50, [80, 100]),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_torchvision_moves_outlines_as_it_moves_their_boxes(name):
    outlines = stars(8)
    moved, boxes = GEOMETRY[name](outlines), GEOMETRY[name](outlines.boxes())
    assert moved.canvas_size == boxes.canvas_size
    torch.testing.assert_close(moved.boxes().as_subclass(torch.Tensor), boxes.as_subclass(torch.Tensor))


def test_torchvision_rotates_outlines_with_their_masks():
    outlines = Polygons.from_coco([[[20, 15, 70, 15, 70, 45, 20, 45]]], CANVAS)
    turned = F.affine(outlines, 30.0, [4, -3], 0.8, [0.0, 0.0]).rasterise()
    bitmap = F.affine(outlines.rasterise(), 30.0, [4, -3], 0.8, [0.0, 0.0])
    assert (turned & bitmap).sum() / (turned | bitmap).sum() > 0.95


def test_torchvision_transforms_take_outlines_beside_the_image():
    sample = {"image": tv_tensors.Image(torch.zeros(3, *CANVAS, dtype=torch.uint8)), "masks": stars(2)}
    sample["boxes"] = sample["masks"].boxes()
    out = v2.Compose([v2.RandomHorizontalFlip(1.0), v2.Resize((120, 90))])(sample)
    torch.testing.assert_close(out["masks"].boxes() + 0, out["boxes"] + 0)
