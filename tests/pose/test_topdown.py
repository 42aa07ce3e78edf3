"""The frame of top-down models: what it hands to its head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from omma.backbones import ResNet
from omma.model import Preprocessor
from omma.structures import Batch, Meta, Skeleton
from omma_pose.codecs import RegressionLabel
from omma_pose.models.heads.pose_head import PoseHead
from omma_pose.models.topdown import TopDown


class Scales(PoseHead):
    """Tells how much each key point counts."""

    def forward(self, maps):
        return maps[-1].mean((2, 3))

    def loss(self, outputs: Tensor, keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        return {f"loss_{i}": weight for i, weight in enumerate(visible[0])}


def model(skeleton: Skeleton, **arguments) -> TopDown:
    return TopDown(
        backbone=ResNet(depth=18),
        head=Scales(num_keypoints=3, in_channels=512, codec=RegressionLabel(input_size=(32, 32))),
        skeleton=skeleton,
        preprocessor=Preprocessor(),
        **arguments,
    )


def counted(made: TopDown) -> list[float]:
    """How much the key points of a person count of whom the last isn't labelled."""
    sample = {
        "keypoints": torch.full((1, 3, 2), 5.0),
        "visibility": torch.tensor([[2, 1, 0]], dtype=torch.uint8),
        "meta": Meta(index=0, id=0, path="0.jpg", height=32, width=32),
    }
    batch = Batch([torch.zeros(3, 32, 32, dtype=torch.uint8)], [sample])
    return [float(weight) for weight in made.eval().loss(batch).values()]


def test_labelled_key_points_count_alike_unless_a_model_is_weighted():
    skeleton = Skeleton(names=("a", "b", "c"), weights=(1.5, 1.0, 2.0))
    assert counted(model(skeleton)) == [1, 1, 0]
    assert counted(model(skeleton, weighted=True)) == [1.5, 1, 0]


def test_weights_of_key_points_are_no_part_of_the_state():
    skeleton = Skeleton(names=("a", "b", "c"), weights=(1.5, 1.0, 2.0))
    assert set(model(skeleton, weighted=True).state_dict()) == set(model(skeleton).state_dict())


def test_a_weighted_model_needs_weights():
    with pytest.raises(ValueError, match="weighted needs a skeleton with weights"):
        model(Skeleton(names=("a", "b", "c")), weighted=True)
