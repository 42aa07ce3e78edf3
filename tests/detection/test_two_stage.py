"""What single two-stage detectors do beside the common walk, against their papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from omma.losses import SmoothL1Loss
from omma_detection.models.coders.bucket import BucketCoder
from omma_detection.models.grid_rcnn import GridHead
from omma_detection.models.heads.detections import Candidates, SoftNMS
from omma_detection.models.mask_scoring_rcnn import mask_iou


def soft_nms_by_definition(boxes: np.ndarray, scores: np.ndarray, weigh) -> list[tuple[int, float]]:
    left, kept = dict(enumerate(scores.tolist())), []
    while left:
        best = max(left, key=lambda i: left[i])
        score = left.pop(best)
        if score < 1e-3:
            break
        kept.append((best, score))
        for i in left:
            low = np.maximum(boxes[i, :2], boxes[best, :2])
            high = np.minimum(boxes[i, 2:], boxes[best, 2:])
            inter = float(np.prod((high - low).clip(0)))
            areas = [float(np.prod(boxes[k, 2:] - boxes[k, :2])) for k in (i, best)]
            left[i] *= weigh(inter / (sum(areas) - inter))
    return kept


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_lowers_scores_as_in_its_paper(method):
    generator = torch.Generator().manual_seed(0)
    corner, size = torch.rand(2, 40, 2, generator=generator) * 20
    boxes, scores = torch.cat([corner, corner + size + 1], dim=1), torch.rand(40, generator=generator)
    pool = Candidates(boxes, scores, torch.zeros(40).long(), torch.zeros(40).long())
    found = SoftNMS(method=method)(pool, iou_threshold=0.3, max_keep=100)

    def weigh(iou: float) -> float:
        if method == "gaussian":
            return float(np.exp(-(iou**2) / 0.5))
        return 1 - iou if iou >= 0.3 else 1.0

    expected = soft_nms_by_definition(boxes.double().numpy(), scores.double().numpy(), weigh)
    torch.testing.assert_close(found.boxes, boxes[[i for i, _ in expected]])
    torch.testing.assert_close(found.scores, torch.tensor([score for _, score in expected]))


def test_soft_nms_leaves_other_classes_alone():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    pool = Candidates(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), torch.zeros(2).long())
    found = SoftNMS()(pool, iou_threshold=0.5, max_keep=10)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8]))


def test_buckets_decode_what_they_encode():
    coder = BucketCoder(buckets=14, scale=1.7)
    references = torch.tensor([[10.0, 20, 60, 90], [5, 5, 45, 25]])
    boxes = torch.tensor([[4.0, 28, 55, 99], [8, 3, 50, 28]])
    target = coder.encode(references, boxes)
    found, sure = coder.decode(references, 50 * target.nearest, target.offsets)
    torch.testing.assert_close(found, boxes)
    torch.testing.assert_close(sure, torch.ones(2))


def test_the_nearest_bucket_is_that_of_the_side():
    # Of a box of 14 pixels that is enlarged to itself each bucket is a pixel, with its middle at a half.
    coder = BucketCoder(buckets=14, scale=1.0)
    target = coder.encode(torch.tensor([[0.0, 0, 14, 14]]), torch.tensor([[2.4, 0.5, 12.0, 13.5]]))
    assert target.nearest[0].argmax(dim=1).tolist()[:1] == [2]
    assert target.nearest[0, 2].argmax() == 0
    assert target.nearest[0, 3].argmax() == 0
    torch.testing.assert_close(target.offsets[0, 0, :3], torch.tensor([-1.9, -0.9, 0.1]))
    # The second nearest, less than a bucket away, is neither right nor wrong but its offset is learnt.
    assert target.counted[0, 0].tolist() == [1, 0, 1, 1, 1, 1, 1]
    assert target.regressed[0, 0].tolist() == [0, 1, 1, 0, 0, 0, 0]


def test_grid_points_give_back_the_box():
    head = GridHead(in_channels=4, num_convs=1, point_channels=8, groups=4, loss=SmoothL1Loss())
    rois, boxes = torch.tensor([[20.0, 30, 76, 86]]), torch.tensor([[24.0, 26, 80, 90]])
    target = head.targets(rois, boxes)
    assert target.shape == (1, 9, 28, 28)
    assert target.flatten(2).sum(dim=2).tolist() == [[5.0] * 9]
    # The maximum of equal values is the first, so the middle of each disc is marked.
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    mass = target.flatten(2).sum(dim=2)
    middle_x, middle_y = (target * x).flatten(2).sum(2) / mass, (target * y).flatten(2).sum(2) / mass
    heat = torch.full_like(target, -9)
    for point in range(9):
        heat[0, point, middle_y[0, point].long(), middle_x[0, point].long()] = 9
    found = head.decode(rois, heat)
    # A pixel of the map is 112 / 56 = 2 pixels of the image.
    assert (found - boxes).abs().max() <= 2


def test_mask_iou_counts_what_lies_outside_of_the_region():
    found = torch.tensor([[[1, 1], [0, 0]]]).bool()
    target = torch.tensor([[[1.0, 0], [1, 0]]])
    # Half of the object lies in the region: 4 pixels in all, 2 found, 1 of them right.
    torch.testing.assert_close(mask_iou(found, target, torch.tensor([0.5])), torch.tensor([1 / 5]))
