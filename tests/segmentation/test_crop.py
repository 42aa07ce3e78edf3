"""Windows of semantic maps."""

from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

from omma.structures import IGNORED
from omma_segmentation.transforms import SemanticCrop


def sample(labels):
    """An image whose pixels tell their place."""
    height, width = labels.shape
    places = torch.arange(height * width).reshape(height, width).to(torch.uint8)
    return {"image": tv_tensors.Image(places.expand(3, -1, -1)), "semantic": tv_tensors.Mask(labels)}


@pytest.fixture
def striped():
    """Class 1 in two columns of sixteen, pixels that don't count in the last four."""
    labels = torch.zeros(8, 16, dtype=torch.uint8)
    labels[:, 6:8], labels[:, 12:] = 1, IGNORED
    return labels


def test_no_class_has_more_than_its_share_of_what_counts(striped):
    for seed in range(30):
        torch.manual_seed(seed)
        window = SemanticCrop(height=4, width=4, largest_share=0.6, tries=200)(sample(striped))["semantic"]
        counts = window.flatten().long().bincount(minlength=256)[:2]
        assert tuple(window.shape) == (4, 4)
        assert counts.max() < 0.6 * counts.sum()


def test_after_the_last_try_any_window_will_do(striped):
    plain = torch.zeros_like(striped)
    assert SemanticCrop(height=4, width=4, tries=3)(sample(plain))["semantic"].shape == (4, 4)


def test_image_and_map_are_cut_alike_and_small_images_stay_whole(striped):
    whole = sample(striped)
    cut = SemanticCrop(height=3, width=5, largest_share=1.0)(whole)
    top, left = divmod(int(cut["image"][0, 0, 0]), 16)
    assert torch.equal(cut["semantic"], striped[top : top + 3, left : left + 5])
    assert SemanticCrop(height=99, width=99)(whole)["image"].shape == (3, 8, 16)
