"""Overlaps, suppression and pooling against loops and torchvision."""

from __future__ import annotations

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st

from omma.ops import batched_nms, box_area, elementwise_giou, elementwise_iou, pairwise_iou, roi_align


def random_boxes(count: int, seed: int, *, extent: float = 100.0) -> torch.Tensor:
    corner, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)) * extent
    return torch.cat([corner, corner + size * 0.4], 1)


def loop_nms(boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, threshold: float) -> list[int]:
    kept: list[int] = []
    iou = torchvision.ops.box_iou(boxes.double(), boxes.double())
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        if all(groups[i] != groups[j] or iou[i, j] <= threshold for j in kept):
            kept.append(i)
    return kept


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 40), groups=st.integers(1, 5))
def test_suppression_equals_a_loop_over_pairs(seed: int, count: int, groups: int):
    boxes = random_boxes(count, seed) - 50
    generator = torch.Generator().manual_seed(seed + 1)
    scores = torch.randint(0, 12, (count,), generator=generator) / 12  # with ties
    labels = torch.randint(0, groups, (count,), generator=generator)
    kept = batched_nms(boxes, scores, labels, iou_threshold=0.4)
    assert kept.tolist() == loop_nms(boxes, scores, labels, 0.4)


def test_boxes_of_other_groups_are_not_suppressed_beyond_the_image_border():
    # With offsets from the largest coordinate alone, the second box would come to lie on the first.
    boxes = torch.tensor([[0.0, 0, 100, 100], [-101, -101, -1, -1]])
    kept = batched_nms(boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), iou_threshold=0.5)
    assert kept.tolist() == [0, 1]


def test_suppression_is_exact_for_small_boxes_of_a_high_class():
    # IoU 0.4 of boxes 1 pixel wide: 1200 classes away, float32 would round them onto each other.
    boxes = torch.tensor(
        [[0.0, 0, 2000, 2000], [500.03, 500.03, 500.10, 500.10], [500.07, 500.03, 500.14, 500.10]]
    )
    kept = batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1200, 1200]), iou_threshold=0.3)
    assert kept.tolist() == [0, 1, 2]


def test_at_most_max_keep_boxes_survive_the_best_ones():
    boxes = torch.tensor([[0.0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]])
    kept = batched_nms(
        boxes, torch.tensor([0.1, 0.9, 0.5]), torch.zeros(3).long(), iou_threshold=0.5, max_keep=2
    )
    assert kept.tolist() == [1, 2]


def test_suppression_names_the_argument_of_a_wrong_shape():
    with pytest.raises(ValueError, match=r"batched_nms: scores must have shape \(2,\), got \(3,\)"):
        batched_nms(torch.zeros(2, 4), torch.zeros(3), torch.zeros(2), iou_threshold=0.5)
    with pytest.raises(ValueError, match=r"batched_nms: boxes must have shape \(N, 4\), got \(2, 5\)"):
        batched_nms(torch.zeros(2, 5), torch.zeros(2), torch.zeros(2), iou_threshold=0.5)


def test_iou_of_pairs_equals_torchvisions():
    a, b = random_boxes(30, 0), random_boxes(20, 1)
    torch.testing.assert_close(pairwise_iou(a, b), torchvision.ops.box_iou(a, b))


def test_giou_equals_torchvisions_for_overlapping_and_distant_boxes():
    a, b = random_boxes(50, 2), random_boxes(50, 3)
    expected = torchvision.ops.generalized_box_iou(a, b).diagonal()
    torch.testing.assert_close(elementwise_giou(a, b), expected)


def test_boxes_without_area_have_iou_zero_and_a_finite_gradient():
    a = torch.zeros(1, 4, requires_grad=True)
    iou = elementwise_iou(a, torch.zeros(1, 4))
    iou.sum().backward()
    assert iou.item() == 0
    assert a.grad is not None
    assert a.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_overlaps_of_half_precision_boxes_are_computed_in_float32(dtype: torch.dtype):
    # The area of 512 x 512 doesn't fit into float16.
    boxes = torch.tensor([[0.0, 0, 512, 512]], dtype=dtype)
    iou = pairwise_iou(boxes, torch.tensor([[0.0, 0, 512, 256]], dtype=dtype))
    assert iou.dtype == torch.float32
    assert iou.item() == pytest.approx(0.5)
    assert box_area(boxes).item() == 512 * 512


def test_overlaps_of_no_boxes_are_empty():
    assert pairwise_iou(torch.zeros(0, 4), torch.zeros(3, 4)).shape == (0, 3)
    assert pairwise_iou(torch.zeros(3, 4), torch.zeros(0, 4)).shape == (3, 0)


def test_overlap_names_the_argument_of_a_wrong_shape():
    with pytest.raises(ValueError, match=r"pairwise_iou: b must have shape \(\.\.\., 4\), got \(2, 5\)"):
        pairwise_iou(torch.zeros(2, 4), torch.zeros(2, 5))


def test_roi_align_averages_bilinear_samples_at_bin_centres():
    # On a plane, bilinear sampling is exact: a bin's mean is the plane's value at its centre.
    y, x = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    plane = (2 * x + 3 * y + 1)[None, None]
    pooled = roi_align(plane, torch.tensor([[0.0, 16, 8, 80, 40]]), size=2, scale=0.25)
    # In feature pixels the region spans x 4..20, y 2..10; pixel i has its centre at i + 0.5.
    centre_x, centre_y = torch.tensor([8.0, 16.0]) - 0.5, torch.tensor([4.0, 8.0]) - 0.5
    expected = 2 * centre_x[None, :] + 3 * centre_y[:, None] + 1
    torch.testing.assert_close(pooled[0, 0], expected)


def test_roi_align_keeps_the_type_but_not_the_precision_of_half_features():
    features = torch.rand(1, 2, 64, 64)
    rois = torch.tensor([[0.0, 333.3, 101.7, 401.2, 207.9]])
    exact = roi_align(features, rois, size=3, scale=0.125)
    half = roi_align(features.bfloat16(), rois, size=3, scale=0.125)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=8e-3, rtol=0)


def test_roi_align_of_no_regions_keeps_the_graph():
    features = torch.rand(1, 2, 8, 8, requires_grad=True)
    pooled = roi_align(features, torch.zeros(0, 5), size=3, scale=0.125)
    pooled.sum().backward()
    assert pooled.shape == (0, 2, 3, 3)
    assert features.grad is not None
    assert features.grad.abs().sum() == 0


def test_roi_align_names_the_argument_of_a_wrong_shape():
    with pytest.raises(ValueError, match=r"roi_align: rois must have shape \(R, 5\), got \(2, 4\)"):
        roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(2, 4), size=2, scale=1.0)
