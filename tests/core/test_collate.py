from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.collate import collate
from omma.structures import Meta, Polygons, Sample


def sample(index: int, height: int, width: int) -> Sample:
    size = (height, width)
    return {
        "image": tv_tensors.Image(torch.full((3, *size), index, dtype=torch.uint8)),
        "boxes": tv_tensors.BoundingBoxes(torch.zeros(index, 4), format="XYXY", canvas_size=size),
        "labels": torch.zeros(index, dtype=torch.int64),
        "masks": Polygons.from_coco([[]] * index, size),
        "meta": Meta(index=index, id=index, path="", height=height, width=width),
    }


def test_images_of_any_size_stand_beside_their_annotations():
    batch = collate([sample(2, 4, 6), sample(0, 5, 3)])
    assert batch.sizes == [(4, 6), (5, 3)]
    assert [len(rest["boxes"]) for rest in batch.samples] == [2, 0]
    assert [meta.index for meta in batch.metas] == [2, 0]
    assert all("image" not in rest for rest in batch.samples)


def test_tensors_are_plain_and_share_memory_with_the_samples():
    one = sample(2, 4, 6)
    batch = collate([one])
    assert type(batch.images[0]) is Tensor
    assert type(batch.samples[0]["boxes"]) is Tensor
    assert batch.images[0].data_ptr() == one["image"].data_ptr()


def test_outlines_keep_their_structure():
    masks = collate([sample(2, 4, 6)]).samples[0]["masks"]
    assert isinstance(masks, Polygons)
    assert len(masks) == 2


@pytest.mark.parametrize("key", ["video", "volume", "skeleton"])
def test_what_a_clip_has_in_place_of_an_image_is_the_input(key: str):
    clip = torch.zeros(1, 2, 3, 4, 5)
    batch = collate([{key: clip, "labels": torch.tensor([1])}])
    assert batch.images[0] is clip
    assert key not in batch.samples[0]


def test_a_sample_without_input_is_an_error():
    with pytest.raises(ValueError, match="one of image, video, volume, skeleton"):
        collate([{"labels": torch.tensor([1])}])
