"""Box coders against torchvision's and against their own inverse."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder

from omma_detection.models.coders import DeltaCoder, boxes_to_distances, distances_to_boxes
from omma_detection.models.coders.delta import clip_boxes

STDS = (0.1, 0.1, 0.2, 0.2)


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(2, count, 2, generator=generator) * 100
    return torch.cat([corner, corner + size + 1], dim=1)


def test_encode_agrees_with_torchvision():
    references, boxes = random_boxes(50, 0), random_boxes(50, 1)
    reference = BoxCoder(weights=tuple(1 / s for s in STDS)).encode_single(boxes, references)
    torch.testing.assert_close(
        DeltaCoder(stds=STDS).encode(references, boxes), reference, rtol=1e-4, atol=1e-4
    )


def test_decode_agrees_with_torchvision():
    references, deltas = random_boxes(50, 0), torch.randn(50, 4, generator=torch.Generator().manual_seed(2))
    reference = BoxCoder(weights=tuple(1 / s for s in STDS)).decode_single(deltas, references)
    torch.testing.assert_close(
        DeltaCoder(stds=STDS).decode(references, deltas), reference, rtol=1e-4, atol=1e-4
    )


side = st.floats(1, 500)
place = st.floats(-100, 1000)
boxes = st.tuples(place, place, side, side).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]])


@given(boxes, boxes)
def test_decode_undoes_encode(reference: list[float], box: list[float]):
    coder = DeltaCoder(stds=STDS, max_ratio=10)
    references = torch.tensor([reference])
    decoded = coder.decode(references, coder.encode(references, torch.tensor([box])))
    torch.testing.assert_close(decoded, torch.tensor([box]), rtol=1e-3, atol=0.1)


def test_a_wild_size_is_held_at_the_largest_ratio():
    decoded = DeltaCoder().decode(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[0.0, 0, 99, -99]]))
    width, height = (decoded[0, 2:] - decoded[0, :2]).tolist()
    assert math.isclose(width, 1000, rel_tol=1e-4)
    assert math.isclose(height, 16 * 16 / 1000, rel_tol=1e-3)


def test_half_precision_deltas_decode_in_float32():
    references = torch.tensor([[1000.0, 1000, 1010, 1010]])
    decoded = DeltaCoder().decode(references.half(), torch.zeros(1, 4, dtype=torch.float16))
    assert decoded.dtype == torch.float32


@given(boxes, st.tuples(place, place))
def test_boxes_come_back_from_distances(box: list[float], point: tuple[float, float]):
    points, corners = torch.tensor([point]), torch.tensor([box])
    again = distances_to_boxes(points, boxes_to_distances(points, corners))
    torch.testing.assert_close(again, corners, rtol=1e-4, atol=1e-2)


def test_distances_are_left_top_right_bottom():
    distances = boxes_to_distances(torch.tensor([[5.0, 6.0]]), torch.tensor([[1.0, 2.0, 10.0, 20.0]]))
    assert distances.tolist() == [[4, 4, 5, 14]]


def test_boxes_are_clipped_to_their_own_image():
    clipped = clip_boxes(
        torch.tensor([[-5.0, -5, 99, 99], [-5, -5, 99, 99]]), torch.tensor([[10, 20], [30, 40]])
    )
    assert clipped.tolist() == [[0, 0, 20, 10], [0, 0, 40, 30]]
