"""Assignment by overlap against its definition, prior by prior."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.ops import box_iou

from omma_detection.models.assigners import MaxIoUAssigner

# Coarse corners, so that ties and identical boxes are common.
corner = st.integers(0, 6)
box = st.tuples(corner, corner, st.integers(1, 5), st.integers(1, 5)).map(
    lambda b: [float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3])]
)


def by_definition(assigner: MaxIoUAssigner, iou: torch.Tensor) -> list[int]:
    """Object of each prior for (G, P) overlaps."""
    out = []
    for column in iou.T.tolist():
        best = max(column)
        positive = best >= assigner.positive_iou
        out.append(column.index(best) if positive else -1 if best < assigner.negative_iou else -2)
    if assigner.match_low_quality:
        for label, row in enumerate(iou.tolist()):
            if max(row) >= assigner.min_positive_iou and max(row) > 0:
                out = [label if value == max(row) else old for value, old in zip(row, out)]
    return out


@given(
    st.lists(box, min_size=1, max_size=12),
    st.lists(box, min_size=1, max_size=5),
    st.booleans(),
    st.sampled_from([(0.7, 0.3, 0.3), (0.5, 0.4, 0.0), (0.5, 0.5, 0.5)]),
)
def test_each_prior_has_the_object_of_the_definition(priors, objects, match_low_quality, thresholds):
    positive, negative, least = thresholds
    assigner = MaxIoUAssigner(
        positive_iou=positive,
        negative_iou=negative,
        min_positive_iou=least,
        match_low_quality=match_low_quality,
    )
    priors, objects = torch.tensor(priors), torch.tensor(objects)
    assert assigner(priors, objects).objects.tolist() == by_definition(assigner, box_iou(objects, priors))


def test_without_objects_all_is_background():
    assigner = MaxIoUAssigner(positive_iou=0.5, negative_iou=0.4)
    assert assigner(torch.rand(3, 4), torch.zeros(0, 4)).objects.tolist() == [-1, -1, -1]


def test_an_object_without_area_gets_no_prior():
    assigner = MaxIoUAssigner(positive_iou=0.5, negative_iou=0.4, min_positive_iou=0)
    priors = torch.tensor([[0.0, 0, 4, 4], [2, 2, 8, 8]])
    assert not assigner(priors, torch.tensor([[3.0, 3, 3, 3]])).positive.any()


def test_an_invalid_prior_is_neither_object_nor_background_and_takes_no_place():
    assigner = MaxIoUAssigner(positive_iou=0.9, negative_iou=0.3, min_positive_iou=0.3)
    priors = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 2], [9, 9, 10, 10]])
    assigned = assigner(priors, torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([False, True, False]))
    assert assigned.objects.tolist() == [-2, 0, -2]


def test_thresholds_out_of_order_are_refused():
    with pytest.raises(ValueError, match=r"0\.4 and 0\.3"):
        MaxIoUAssigner(positive_iou=0.3, negative_iou=0.4)
