"""torchvision's augmentations on samples of clips, as recipes of transformers have them."""

from __future__ import annotations

import pytest
import torch
from torchvision import tv_tensors

from omma.config import Config, check
from omma.experiment import Experiment
from omma.structures import Meta, Sample


def sample() -> Sample:
    """A still clip."""
    picture = torch.randint(0, 256, (1, 1, 3, 300, 340), dtype=torch.uint8)
    return Sample(
        video=tv_tensors.Video(picture.expand(1, 4, -1, -1, -1).clone()),
        labels=torch.tensor([3]),
        meta=Meta(index=0, id=0, path="", height=300, width=340),
    )


@pytest.mark.parametrize(
    "name",
    [
        "mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb",
        "mvit-small-p244_k400-pre_16xb16-u16-100e_sthv2-rgb",
        "uniformerv2-base-p16-res224_clip_8xb32-u8_kinetics400-rgb",
    ],
)
def test_all_frames_of_a_clip_are_changed_alike(name: str):
    plan = check(Config.load(name), Experiment)
    transforms = [each.build() for each in plan["data"]["train"]["dataset"]["transforms"]]
    for seed in range(8):
        torch.manual_seed(seed)
        found = sample()
        for transform in transforms:
            found = transform(found)
        video = found["video"]
        assert video.shape == (1, 4, 3, 224, 224)
        assert video.dtype == torch.uint8
        assert torch.equal(video, video[:, :1].expand_as(video))
        assert found["labels"].tolist() == [3]
