"""Boxes from pairs of corners: perfect maps give the objects back, wherever images lie in the input."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import box_iou

from omma.backbones import HourglassNet
from omma.losses import GaussianFocalLoss, L1Loss, SmoothL1Loss
from omma.model import Canvas, CentredPreprocessor
from omma.structures import Batch
from omma_detection.models.centripetalnet import CentripetalHead, CentripetalNet
from omma_detection.models.cornernet import CornerNet, CornerNetHead, pull_and_push
from omma_detection.models.heads.corner_towers import CornerMaps, CornerPair, CornerTowers
from omma_detection.models.heads.detections import Selection, SoftNMS
from omma_detection.models.heads.gaussian import mark

from .detectors import CLASSES, batch, sample
from .test_dense_assigners import objects_of

BOXES = [[8.5, 10.25, 60.0, 50.5], [41.0, 30.5, 90.0, 88.0], [70.0, 4.0, 82.0, 20.0]]
LABELS = [1, 1, 2]
SIZE = (96, 128)
CANVAS = Canvas(127, 127, ((15, 0),))
SELECTION = Selection(
    score_threshold=0, nms_iou=0.5, max_per_image=20, clip=False, soft=SoftNMS(method="gaussian")
)


def head(kind: type[CornerNetHead] | type[CentripetalHead], levels: int = 1) -> CornerTowers:
    parts = {"heat_loss": GaussianFocalLoss(), "offset_loss": SmoothL1Loss(), "selection": SELECTION}
    if kind is CentripetalHead:
        parts |= {"guide_loss": SmoothL1Loss(loss_weight=0.05), "shift_loss": L1Loss()}
    return kind(in_channels=8, num_classes=CLASSES, levels=levels, corners=10, **parts)


def perfect(kind: type[CornerTowers]) -> list[CornerPair]:
    """Maps (32, 32) of an input of 127 x 127 in which the image lies 15 pixels from the top, box by box."""
    maps = [
        CornerMaps(
            torch.full((1, CLASSES, 32, 32), -10.0),
            torch.zeros(1, 2, 32, 32),
            (torch.zeros(1, 2, 32, 32), torch.zeros(1, 2, 32, 32)),
        )
        for _ in range(2)
    ]
    for number, (box, label) in enumerate(zip(BOXES, LABELS)):
        halves = [(box[2 + axis] - box[axis]) / 2 * 32 / 127 for axis in range(2)]
        for corner, each in enumerate(maps):
            x, y = box[2 * corner] * 32 / 127, (box[2 * corner + 1] + 15) * 32 / 127
            place = (0, slice(None), int(y), int(x))
            each.heat[0, label, int(y), int(x)] = 3.0 + number
            each.offset[place] = torch.tensor([x - int(x), y - int(y)])
            each.ties[0][place] = float(number)
            each.ties[1][place] = torch.tensor([math.log(half) for half in halves])
    if kind is CornerNetHead:
        maps = [each._replace(ties=(each.ties[0][:, :1],)) for each in maps]
    return [(maps[0], maps[1])]


@pytest.mark.parametrize("kind", [CornerNetHead, CentripetalHead])
@torch.no_grad()
def test_perfect_maps_give_the_objects_and_no_box_of_corners_of_two(kind: type[CornerNetHead]):
    data = batch(sample(BOXES, SIZE, scale=2.0))
    found = head(kind).predict(perfect(kind), data, CANVAS)[0]
    scores = torch.tensor([3.0, 4.0, 5.0]).sigmoid().flip(0)
    torch.testing.assert_close(found["boxes"], torch.tensor(BOXES).flip(0) / 2, atol=1e-4, rtol=0)
    assert found["labels"].tolist() == LABELS[::-1]
    # The first two are of one class and overlap: the better one lowers the score of the other.
    a, b = torch.tensor(BOXES[:2]).double()
    shared = (torch.minimum(a, b)[2:] - torch.maximum(a, b)[:2]).prod()
    iou = shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)
    scores[2] *= (-(iou**2) / 0.5).exp()
    torch.testing.assert_close(found["scores"], scores)


@torch.no_grad()
def test_a_pair_needs_one_class_and_alike_numbers():
    pair = perfect(CornerNetHead)[0]
    pair[1].heat[0, :, :] = pair[1].heat[0].roll(1, dims=0)
    assert len(head(CornerNetHead).predict([pair], batch(sample([], SIZE)), CANVAS)[0]["boxes"]) == 0
    pair = perfect(CornerNetHead)[0]
    pair[1].ties[0].add_(3.5)
    assert len(head(CornerNetHead).predict([pair], batch(sample([], SIZE)), CANVAS)[0]["boxes"]) == 0


def test_a_mark_belongs_to_the_last_object_there_and_reads_its_position():
    objects = objects_of([[[0.0, 0, 40, 40], [1.0, 1, 20, 20], [30.0, 10, 60, 40]], []])
    marks = mark(objects.boxes[..., :2] / 4, torch.zeros(2, 3), objects, CLASSES, (8, 16))
    assert marks.image.tolist() == [0, 0]
    assert marks.owner.tolist() == [1, 2]
    assert marks.position.tolist() == [[0, 0], [7, 2]]
    assert marks.offset.tolist() == [[0.25, 0.25], [0.5, 0.5]]
    assert marks.read(torch.arange(256).reshape(2, 1, 8, 16)).tolist() == [[0], [2 * 16 + 7]]
    assert int((marks.heat == 1).sum()) == 3  # two classes share a position


def test_numbers_are_pulled_and_pushed_as_in_the_paper():
    objects = objects_of([[[0.0, 0, 9, 9]] * 3, [], [[0.0, 0, 9, 9]]])
    first, second = torch.randn(2, 3, 3, dtype=torch.float64)
    pull = push = 0.0
    for image, count in ((0, 3), (2, 1)):
        mean = [(first[image, k] + second[image, k]) / 2 for k in range(count)]
        for k in range(count):
            pull += ((first[image, k] - mean[k]) ** 2 + (second[image, k] - mean[k]) ** 2) / count
            others = [j for j in range(count) if j != k]
            push += sum(max(0.0, 1 - abs(mean[k] - mean[j])) / (count * (count - 1)) for j in others)
    found = pull_and_push(first, second, objects)
    torch.testing.assert_close(
        torch.stack(found), torch.stack([torch.as_tensor(pull), torch.as_tensor(push)])
    )


@pytest.mark.parametrize("kind", [CornerNetHead, CentripetalHead])
@torch.no_grad()
def test_maps_that_give_the_objects_back_cost_nothing_but_their_scores(kind: type[CornerNetHead]):
    pair = perfect(kind)
    losses = head(kind).loss(pair, labelled(), CANVAS)
    for name in ("loss_offset", "loss_pull", "loss_push", "loss_centripetal"):
        assert float(losses.get(name, torch.zeros(()))) == pytest.approx(0, abs=1e-6), name
    worse = [tuple(each._replace(offset=each.offset + 0.5) for each in pair[0])]
    # Smooth L1 of 0.5 in x and in y, the mean over both corners.
    assert float(head(kind).loss(worse, labelled(), CANVAS)["loss_offset"]) == pytest.approx(0.25)


@torch.no_grad()
def test_guides_are_the_ways_from_positions_inwards():
    pair = perfect(CentripetalHead)
    boxes = torch.tensor(BOXES) + torch.tensor([0.0, 15, 0, 15])
    boxes = boxes * 32 / 127
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    for maps, corner, sign in zip(pair[0], (boxes[:, :2], boxes[:, 2:]), (1, -1)):
        for (x, y), centre in zip(corner.long().tolist(), centres):
            maps.ties[0][0, :, y, x] = sign * (centre - torch.tensor([x, y]))
    assert float(head(CentripetalHead).loss(pair, labelled(), CANVAS)["loss_guiding"]) < 1e-6


def labelled() -> Batch:
    data = sample(BOXES, SIZE)
    data["labels"] = torch.tensor(LABELS)
    return batch(data)


@pytest.mark.parametrize(("side", "padded", "before"), [(511, 511, 0), (512, 639, 63), (400, 511, 55)])
def test_an_image_lies_in_the_middle_of_its_canvas(side: int, padded: int, before: int):
    preprocessor = CentredPreprocessor(mean=(0, 0, 0), std=(1, 1, 1))
    image = torch.full((3, side, 300), 7, dtype=torch.uint8)
    larger = torch.ones(3, 700, 500, dtype=torch.uint8)
    alone, together = preprocessor([image]), preprocessor([image, larger])
    assert alone.shape == (1, 3, padded, 383)
    assert together.shape == (2, 3, 767, 511)
    left = 383 // 2 - 150
    for out in (alone, together):
        lit = out[0, 0].nonzero()
        assert lit.amin(dim=0).tolist() == [before, left]
        assert lit.amax(dim=0).tolist() == [before + side - 1, left + 299]
    torch.testing.assert_close(together[0, :, :padded, :383], alone[0])


@pytest.mark.parametrize("kind", [CornerNetHead, CentripetalHead])
def test_a_small_one_learns_its_image(kind: type[CornerNetHead]):
    torch.manual_seed(0)
    backbone = HourglassNet(stacks=1, channels=(8, 12, 16), blocks=(1, 1, 1), map_channels=8)
    model_kind = CornerNet if kind is CornerNetHead else CentripetalNet
    model = model_kind(backbone=backbone, bbox_head=head(kind), preprocessor=CentredPreprocessor()).train()
    data = labelled()
    for (x1, y1, x2, y2), level in zip(torch.tensor(BOXES).int().tolist(), (60, 120, 250)):
        data.images[0][:, y1:y2, x1:x2] = level
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        torch.stack(list(model.loss(data).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        found = model.eval().predict(data)[0]
    overlap, index = box_iou(torch.tensor(BOXES), found["boxes"][:3]).max(dim=1)
    assert bool((overlap > 0.85).all())
    assert found["labels"][index].tolist() == LABELS
    assert bool((found["scores"][:3] > 0.8).all())
