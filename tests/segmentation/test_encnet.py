"""EncNet's encoding and its loss of presence against their formulas."""

from __future__ import annotations

import pytest
import torch

from omma.losses import BinaryCrossEntropyLoss
from omma.structures import IGNORED
from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.encnet import EncHead, Encoding

from .formulas import drawn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_an_encoding_sums_residuals_by_nearness():
    module = drawn(Encoding(4, 3))
    x = torch.randn(2, 4, 3, 5).double()
    residuals = x.flatten(2).transpose(1, 2)[:, :, None] - module.codewords  # (N, P, K, C)
    share = (module.scale * residuals.square().sum(-1)).softmax(-1)
    torch.testing.assert_close(module(x), (share[..., None] * residuals).sum(1))


@torch.no_grad()
def test_presence_is_learnt_of_the_classes_that_an_image_shows():
    head = EncHead(
        in_channels=4,
        channels=4,
        num_classes=3,
        loss=PixelCrossEntropy(),
        presence_loss=BinaryCrossEntropyLoss(),
        codes=2,
    ).eval()
    labels = torch.tensor([[[0, 0], [2, IGNORED]], [[IGNORED, IGNORED], [IGNORED, 1]]])
    shown = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    logits, presence = head([torch.randn(2, 4, 2, 2)])
    assert presence is not None
    p = presence.double().sigmoid()
    expected = -(shown * p.log() + (1 - shown) * (1 - p).log()).mean()
    torch.testing.assert_close(
        head.loss((logits, presence), labels)["loss_se"].double(), expected, rtol=1e-5, atol=1e-6
    )
