"""Test-time augmentation of segmentations: views of a network that sees pixels one by one agree."""

from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

from omma.augmentation import Views
from omma.backbones import Backbone
from omma.data.collate import collate
from omma.data.transforms import Resize
from omma.model import Preprocessor
from omma.structures import Meta
from omma_segmentation.augmentation import MergeSegmentations
from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.heads.decode_head import DecodeHead
from omma_segmentation.models.segmentor import Segmentor


class Colours(Backbone):
    out_channels, strides = (3,), (1,)

    def forward(self, x):
        return (x,)


class Brightest(DecodeHead):
    """The class is the brightest channel."""

    def forward(self, maps):
        return 10 * maps[0]


@pytest.fixture
def model():
    head = Brightest(in_channels=3, in_index=0, num_classes=3, loss=PixelCrossEntropy())
    return Segmentor(backbone=Colours(), decode_head=head, preprocessor=Preprocessor(divisor=1)).eval()


@pytest.fixture
def sample():
    """Four quarters of three colours, none of them like its mirror image."""
    quarters = torch.tensor([[0, 1], [2, 0]]).repeat_interleave(16, 0).repeat_interleave(24, 1)
    image = 255 * torch.nn.functional.one_hot(quarters, 3).permute(2, 0, 1).to(torch.uint8)
    meta = Meta(index=0, id=0, path="a.jpg", height=32, width=48)
    return quarters, {"image": tv_tensors.Image(image), "meta": meta}


@torch.no_grad()
def test_all_views_of_equivariant_predictions_agree(model, sample):
    quarters, sample = sample
    views = Views(
        transforms=((), (Resize(height=64, width=96),), (Resize(height=16, width=24),)),
        mirrors=("none", "horizontal", "vertical", "both"),
        merge=MergeSegmentations(),
    )
    (prediction,) = views.predict(model, collate([views(sample)]))
    assert torch.equal(prediction["semantic"].long(), quarters)


@torch.no_grad()
def test_views_are_averaged_as_probabilities():
    merge = MergeSegmentations()
    sure = torch.tensor([0.9, 0.1, 0.0]).view(3, 1, 1)
    unsure = torch.tensor([0.3, 0.6, 0.1]).view(3, 1, 1)
    assert merge([sure, unsure])["semantic"].item() == 0
    assert merge([unsure, unsure])["semantic"].item() == 1
