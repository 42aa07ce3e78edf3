"""Encodings and outlines of masks, there and back."""

from __future__ import annotations

import pytest
import torch
from pycocotools import mask as coco

from omma.ops import decode_masks, encode_masks, masks_to_polygons


def blobs(count: int, seed: int = 0) -> torch.Tensor:
    """Without holes: columns of random height on a random floor."""
    generator = torch.Generator().manual_seed(seed)
    heights = torch.randint(0, 9, (count, 1, 14), generator=generator)
    return torch.arange(9)[:, None] >= 9 - heights


def test_encodings_are_pycocotools_own_and_decode_again():
    masks = torch.rand(5, 7, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    encoded = encode_masks(masks)
    for mask, encoding in zip(masks, encoded):
        assert (torch.from_numpy(coco.decode(encoding)).bool() == mask).all()
    assert torch.equal(decode_masks(encoded, (7, 9)), masks)
    assert encode_masks(masks[:0]) == []
    assert decode_masks([], (7, 9)).shape == (0, 7, 9)


def test_an_encoding_of_another_size_is_an_error():
    encoded = encode_masks(torch.ones(1, 4, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"decode_masks: encodings must be of size \[5, 4\], got \[4, 5\]"):
        decode_masks(encoded, (5, 4))
    with pytest.raises(ValueError, match="encode_masks: masks must be bool or uint8, got float32"):
        encode_masks(torch.zeros(1, 2, 2))


def test_outlines_give_the_masks_again():
    masks = blobs(20)
    masks[3] = False
    polygons = masks_to_polygons(masks)
    assert len(polygons) == 20
    assert torch.equal(polygons.rasterise().bool().as_subclass(torch.Tensor), masks)


def test_outlines_fill_holes():
    ring = torch.ones(1, 5, 5, dtype=torch.bool)
    ring[0, 2, 2] = False
    assert masks_to_polygons(ring).rasterise().sum() == 25
