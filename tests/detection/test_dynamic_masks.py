"""CondInst's and BoxInst's parts against their formulas, written out pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch import Tensor
from torchvision import tv_tensors

from omma.losses import BinaryCrossEntropyLoss, DiceLoss, FocalLoss, GIoULoss
from omma.model import Preprocessor
from omma.necks import FPN
from omma.ops import rgb_to_lab
from omma_detection.models.boxinst import (
    BoxInst,
    BoxInstMaskHead,
    box_masks,
    like_neighbours,
    neighbours,
    unlikeness,
)
from omma_detection.models.condinst import CondInst, CondInstMaskHead
from omma_detection.models.fcos import FCOSHead
from omma_detection.models.heads.dynamic_masks import MaskNetwork, enlarge_aligned
from omma_detection.models.priors import PointGenerator

from .detectors import CLASSES, STAGES, WIDTH, backbone, batch, sample

SIZE = (64, 96)


def bbox_head(kernel_channels: int = 169, strides: tuple[int, ...] = (8, 16, 32, 64)) -> FCOSHead:
    return FCOSHead(
        in_channels=WIDTH,
        channels=64,
        num_convs=1,
        num_classes=CLASSES,
        points=PointGenerator(strides=strides),
        regress_ranges=((-1, 48), (48, 96), (96, 192), (192, math.inf)),
        cls_loss=FocalLoss(),
        box_loss=GIoULoss(),
        centerness_loss=BinaryCrossEntropyLoss(),
        center_sampling=True,
        norm_on_bbox=True,
        kernel_channels=kernel_channels,
    )


def neck() -> FPN:
    return FPN(in_channels=STAGES, out_channels=WIDTH, num_outs=4, start_level=1)


def condinst(**head: int) -> CondInst:
    mask_head = CondInstMaskHead(in_channels=WIDTH, channels=8, num_convs=1, mask_loss=DiceLoss(), **head)
    return CondInst(
        backbone=backbone(),
        neck=neck(),
        bbox_head=bbox_head(),
        mask_head=mask_head,
        preprocessor=Preprocessor(),
    )


def boxinst(max_masks: int = 64) -> BoxInst:
    mask_head = BoxInstMaskHead(
        in_channels=WIDTH, channels=8, num_convs=1, mask_loss=DiceLoss(eps=5e-6), max_masks=max_masks
    )
    return BoxInst(
        backbone=backbone(),
        neck=neck(),
        bbox_head=bbox_head(593),
        mask_head=mask_head,
        preprocessor=Preprocessor(),
    )


def test_aligned_enlargement_is_bilinear_at_shifted_places():
    maps = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    for factor in (1, 2, 3, 4):
        large = enlarge_aligned(maps, factor)
        places = np.meshgrid(
            *((np.arange(n * factor) - factor // 2) / factor for n in maps.shape[2:]), indexing="ij"
        )
        for got, given in zip(large.flatten(0, 1), maps.flatten(0, 1)):
            expected = map_coordinates(given.numpy().astype(np.float64), places, order=1, mode="nearest")
            np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def test_networks_draw_what_their_layers_say():
    torch.manual_seed(0)
    network = MaskNetwork(features=3, channels=4, layers=3)
    assert network.num_weights == (3 + 2) * 4 + 4 * 4 + 4 * 1 + 4 + 4 + 1
    features, kernels = torch.randn(2, 3, 2, 2), torch.randn(2, network.num_weights)
    points, strides = torch.tensor([[4.0, 12], [20, 8]]), torch.tensor([8.0, 16])
    grid = torch.tensor([[4.0, 4], [12, 4], [4, 12], [12, 12]])
    found = network(features, kernels, points, strides, grid)
    for i, row in enumerate(kernels.double()):
        first, second, third = row[:20].view(4, 5), row[20:36].view(4, 4), row[36:40].view(1, 4)
        biases = row[40:44], row[44:48], row[48:]
        for j, place in enumerate(grid):
            away = (points[i] - place) / (8 * strides[i])
            x = torch.cat([away, features[i].flatten(1)[:, j]]).double()
            x = (first @ x + biases[0]).relu()
            x = (second @ x + biases[1]).relu()
            assert float(found[i].flatten()[j]) == pytest.approx(float(third @ x + biases[2]), abs=1e-4)


def test_points_around_the_centre_of_a_mask_learn_it():
    # The mask fills the left of its box, so that the box's own middle lies outside of it.
    objects = sample([[0.0, 0, 80, 40]], SIZE)
    mask = torch.zeros(1, *SIZE, dtype=torch.uint8)
    mask[0, :40, :16] = 1
    objects["masks"] = tv_tensors.Mask(mask)
    model = condinst()
    data = batch(objects)
    outputs = model(data.images)
    owners = model.assign(outputs, data)[0]
    points = model.priors(outputs).points[owners >= 0]
    strides = model.priors(outputs).strides[owners >= 0]
    assert len(points) > 0
    middle = torch.tensor([7.5, 19.5])  # of the pixels' numbers
    assert bool(((points - middle).abs() < 1.5 * strides[:, None]).all())


def test_condinst_learns_no_more_masks_than_it_may():
    torch.manual_seed(0)
    model = condinst(max_masks=3).eval()
    seen: list[int] = []
    model.mask_head.mask_loss.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    data = batch(sample([[8.0, 8, 72, 56]], SIZE), sample([[20.0, 10, 60, 50]], SIZE))
    model.loss(data)
    assert seen == [6]


def test_boxes_fill_the_cells_whose_middle_they_touch():
    boxes = torch.tensor([[3.5, 0.0, 10.2, 63.0], [17.9, 21, 18.0, 22.0]])
    for box, mask in zip(boxes, box_masks(boxes, (16, 24))):
        whole = torch.zeros(64, 96, dtype=torch.bool)
        x1, y1, x2, y2 = box.tolist()
        whole[int(y1) : int(y2 + 1), int(x1) : int(x2 + 1)] = True
        assert torch.equal(mask, whole[2::4, 2::4])


def neighbour_places(y: int, x: int, dilation: int) -> list[tuple[int, int]]:
    steps = (-dilation, 0, dilation)
    return [(y + dy, x + dx) for dy in steps for dx in steps if (dy, dx) != (0, 0)]


def test_neighbours_are_the_eight_around():
    maps = torch.arange(1.0, 31).view(1, 1, 5, 6)
    found = neighbours(maps, 2)[0, 0]
    for y in range(5):
        for x in range(6):
            expected = [
                float(maps[0, 0, v, u]) if 0 <= v < 5 and 0 <= u < 6 else 0.0
                for v, u in neighbour_places(y, x, 2)
            ]
            assert found[:, y, x].tolist() == expected


def test_neighbours_of_like_colour_inside_the_image_are_alike():
    picture = torch.randint(90, 130, (3, 50, 40), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    picture[:, :, 20:] += 60
    size = (16, 12)  # padded to 64 x 48
    found = like_neighbours([picture], size, dilation=2, likeness=0.3)[0]
    last_row = 50 - int(10 * 50 / 64)
    small = picture[:, :48].double().reshape(3, 12, 4, 10, 4).mean(dim=(2, 4)).floor()
    lab = rgb_to_lab(small / 255)
    inside = lambda v, u: 0 <= 4 * v + 2 < last_row and 0 <= 4 * u + 2 < 40  # noqa: E731
    values: set[bool] = set()
    for y in range(10):
        for x in range(10):
            for i, (v, u) in enumerate(neighbour_places(y, x, 2)):
                like = inside(v, u) and math.exp(-float((lab[:, y, x] - lab[:, v, u]).norm()) / 2) >= 0.3
                assert bool(found[i, y, x]) == like
                values.add(like)
    assert values == {True, False}


def test_unlikeness_is_minus_the_log_of_agreement():
    logits = 4 * torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, share = unlikeness(logits, 1), logits.sigmoid()
    for y, x, (v, u), i in ((2, 3, (1, 2), 0), (2, 3, (3, 4), 7), (3, 1, (3, 0), 3)):
        p, q = share[:, y, x], share[:, v, u]
        torch.testing.assert_close(found[:, i, y, x], -(p * q + (1 - p) * (1 - q)).log())


def test_objects_share_the_masks_that_boxinst_learns():
    torch.manual_seed(0)
    model = boxinst(max_masks=5)
    data = batch(sample([[0.0, 0, 40, 60], [50, 4, 94, 60]], SIZE), sample([], SIZE))
    outputs = model(data.images)
    owners = model.assign(outputs, data)
    image, prior = model.mask_head._best(outputs, owners)
    assert image.tolist() == [0, 0, 0, 0]
    assert owners[0, prior].tolist() == [0, 0, 1, 1]
    cls = torch.cat([m[0].flatten(1).T for m in outputs.points.logits]).sigmoid().amax(dim=1)
    score = cls * torch.cat([m[0].flatten() for m in outputs.points.centerness]).sigmoid()
    for number in (0, 1):
        own = (owners[0] == number).nonzero()[:, 0]
        best = own[score[own].topk(2).indices]
        assert set(best.tolist()) == set(prior[owners[0, prior] == number].tolist())


@torch.no_grad()
def test_boxinst_learns_from_colours_bit_by_bit():
    torch.manual_seed(0)
    model = boxinst().eval()
    data = batch(sample([[8.0, 8, 72, 56]], SIZE))
    found: list[dict[str, Tensor]] = []
    for step in (0, 5000, 10000, 20000):
        model.at_step(step)
        found.append(model.loss(data))
    pairs = [float(losses["loss_mask_pairwise"]) for losses in found]
    assert pairs[0] == 0 < pairs[1]
    assert pairs[2] == pytest.approx(2 * pairs[1])
    assert pairs[3] == pairs[2]
    assert len({float(losses["loss_mask_project"]) for losses in found}) == 1


@pytest.mark.parametrize(
    ("box", "mask", "message"),
    [
        ({"kernel_channels": 100}, {}, "kernel_channels is 100, mask_head takes 169"),
        ({}, {"stride": 16}, "stride 8, mask_head expects 16 and 16"),
        ({}, {"levels": 5}, "takes 5 levels of 4"),
    ],
)
def test_heads_that_do_not_fit_each_other_are_refused(box: dict, mask: dict, message: str):
    head = CondInstMaskHead(**{"in_channels": WIDTH, "channels": 8, "mask_loss": DiceLoss(), **mask})
    with pytest.raises(ValueError, match=message):
        CondInst(
            backbone=backbone(),
            neck=neck(),
            bbox_head=bbox_head(**box),
            mask_head=head,
            preprocessor=Preprocessor(),
        )
