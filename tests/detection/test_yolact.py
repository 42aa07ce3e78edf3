"""YOLACT's suppression, masks and losses against the plain formulas, and anchors at uneven steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import box_iou

from omma.losses import BinaryCrossEntropyLoss
from omma_detection.models.heads.prototypes import Positives, YOLACTProtonet, crop
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.yolact import FastNMS

from .detectors import CLASSES, batch, sample

SIZE = (64, 96)
BOXES = [[8.0, 8, 60, 40], [30.0, 20, 90, 60]]


def test_anchors_stand_in_the_middle_of_their_steps():
    generator = AnchorGenerator(strides=(8, 16), steps=(7.5, 15.0), scales=(3.0,), ratios=(1.0,), offset=0.5)
    first, second = generator.grid([(2, 3), (1, 2)], torch.device("cpu"))
    centres = (first[:, :2] + first[:, 2:]) / 2
    assert centres.tolist() == [[3.75 + 7.5 * x, 3.75 + 7.5 * y] for y in range(2) for x in range(3)]
    assert (first[:, 2:] - first[:, :2]).unique().tolist() == [24.0]
    assert second.tolist() == [[-16.5, -16.5, 31.5, 31.5], [-1.5, -16.5, 46.5, 31.5]]
    with pytest.raises(ValueError, match="1 steps for 2 strides"):
        AnchorGenerator(strides=(8, 16), steps=(7.5,))


def test_fast_nms_drops_what_overlaps_any_better_box_of_the_class():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(60, 2, generator=generator) * 30
    boxes = torch.cat([corner, corner + 10 + 10 * torch.rand(60, 2, generator=generator)], dim=1)
    scores = torch.rand(60, CLASSES, generator=generator)
    kept, labels, found = FastNMS(score_threshold=0.3, nms_iou=0.4, per_class=40, max_per_image=15)(
        boxes, scores
    )
    iou = box_iou(boxes, boxes)
    expected = []
    for label in range(CLASSES):
        order = scores[:, label].argsort(descending=True)[:40].tolist()
        for rank, box in enumerate(order):
            free = all(iou[box, better] <= 0.4 for better in order[:rank])
            if free and scores[box, label] > 0.3:
                expected.append((float(scores[box, label]), box, label))
    expected = sorted(expected, reverse=True)[:15]
    assert list(zip(found.tolist(), kept.tolist(), labels.tolist())) == expected
    assert len(expected) == 15


def test_masks_are_cut_a_pixel_outside_their_boxes():
    cut = crop(torch.ones(1, 32, 48), torch.tensor([[20.0, 8, 40, 30]]), SIZE)[0]
    # The masks' pixels are two wide: 10..20 by 4..15, and one more on each side.
    expected = torch.zeros(32, 48)
    expected[3:16, 9:21] = 1
    assert torch.equal(cut, expected)


def test_mask_losses_are_those_of_the_paper():
    torch.manual_seed(0)
    head = YOLACTProtonet(
        in_channels=8,
        channels=8,
        num_prototypes=4,
        num_classes=CLASSES,
        mask_loss_weight=6.125,
        segm_loss=BinaryCrossEntropyLoss(),
    )
    m = torch.randn(2, 8, 8, 12)
    truth = sample(BOXES, SIZE)
    objects = torch.tensor([0, 1, 1])
    found = [
        Positives(torch.randn(3, 4).tanh(), objects, torch.tensor(BOXES)[objects]),
        Positives(torch.zeros(0, 4), objects[:0], torch.zeros(0, 4)),
    ]
    losses = head.losses(m, found, batch(truth, sample([], SIZE)), SIZE)

    prototypes = head(m)[0].detach().double().numpy()
    total = 0.0
    for coefficients, item in zip(found[0].coefficients.double().numpy(), objects.tolist()):
        probability = 1 / (1 + np.exp(-np.tensordot(coefficients, prototypes, 1)))
        x1, y1, x2, y2 = BOXES[item]
        mask = F.interpolate(truth["masks"][None, item : item + 1].float(), size=(16, 24), mode="bilinear")
        target = mask[0, 0].numpy() > 0.5
        error = 0.0
        for y in range(16):
            for x in range(24):
                if x1 / 4 - 1 <= x < x2 / 4 + 1 and y1 / 4 - 1 <= y < y2 / 4 + 1:
                    error -= np.log(probability[y, x] if target[y, x] else 1 - probability[y, x])
        total += 6.125 * error / ((x2 - x1) * (y2 - y1) / (64 * 96)) / (16 * 24)
    assert losses["loss_mask"].item() == pytest.approx(total / 3, rel=1e-5)

    segm = head.segm_branch["segm_conv"](m)
    areas = torch.zeros_like(segm)
    small = F.interpolate(truth["masks"][None].float(), size=(8, 12), mode="bilinear")[0] > 0.5
    for label, mask in zip(truth["labels"].tolist(), small):
        areas[0, label] = torch.maximum(areas[0, label], mask.float())
    expected = F.binary_cross_entropy_with_logits(segm, areas, reduction="sum") / (2 * 8 * 12)
    torch.testing.assert_close(losses["loss_segm"], expected)


def test_of_many_masks_some_are_drawn():
    many = Positives(torch.arange(50.0)[:, None], torch.arange(50), torch.zeros(50, 4))
    some = many.some(20)
    assert len(some.objects.unique()) == 20
    assert torch.equal(some.coefficients[:, 0].long(), some.objects)
    assert many.some(50) is many
