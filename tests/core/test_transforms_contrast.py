"""CLAHE against OpenCV's, channel by channel; gamma against torchvision's formula; holes in label maps."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from omma.data.transforms import CLAHE, CutOut, RandomGamma
from omma.structures import Sample


def sample() -> Sample:
    levels = np.random.default_rng(0).integers(0, 200, (40, 56, 3), dtype=np.uint8)
    image = torch.from_numpy(cv2.GaussianBlur(levels, (9, 9), 3)).permute(2, 0, 1)
    return {
        "image": tv_tensors.Image(image),
        "semantic": tv_tensors.Mask(torch.ones(40, 56, dtype=torch.uint8)),
    }


@pytest.mark.parametrize("tiles", [(8, 8), (2, 5)])
def test_clahe_equalises_each_channel_as_opencv_does(tiles):
    before = sample()
    after = CLAHE(clip_limit=3.0, tiles=tiles)(before)["image"]
    reference = cv2.createCLAHE(3.0, (tiles[1], tiles[0]))
    for old, new in zip(before["image"].numpy(), after.numpy(), strict=True):
        assert np.array_equal(new, reference.apply(np.ascontiguousarray(old)))
    assert isinstance(after, tv_tensors.Image)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.2])
def test_gamma_follows_its_formula(gamma):
    before = sample()
    after = RandomGamma(gamma=gamma)(before)["image"].as_subclass(Tensor)
    # torchvision cuts levels off where we round them.
    wanted = F.adjust_gamma(before["image"].as_subclass(Tensor).double() / 255, 1 / gamma) * 255
    assert (after - wanted).abs().max() <= 0.5 + 1e-6
    if gamma != 1:
        assert (after.double().mean() > before["image"].double().mean()) == (gamma > 1)


def test_halving_and_doubling_gammas_are_equally_likely():
    torch.manual_seed(0)
    before, change = sample(), RandomGamma(gamma=(0.5, 2.0))
    old = before["image"].double().mean()
    brighter = sum(bool(change(before)["image"].double().mean() > old) for _ in range(400))
    assert 160 < brighter < 240  # four standard deviations


@pytest.mark.parametrize(
    "transform",
    [
        CLAHE(prob=0.3),
        RandomGamma(gamma=2.0, prob=0.3),
        CutOut(holes=(3, 3), shapes=[(9, 9)], prob=0.3),
    ],
)
def test_a_share_of_the_samples_is_changed(transform):
    torch.manual_seed(0)
    before = sample()
    changed = sum(transform(before) is not before for _ in range(300))
    assert abs(changed / 300 - 0.3) < 0.1


@pytest.mark.parametrize("label", [0, 255])
def test_holes_are_cut_into_semantic_maps_too(label):
    before = sample()
    for seed in range(10):
        torch.manual_seed(seed)
        after = CutOut(holes=(1, 4), shapes=[(7, 9), (3, 20)], fill=(255, 0, 255), semantic=label)(before)
        hole = (after["image"].as_subclass(Tensor) == torch.tensor([255, 0, 255])[:, None, None]).all(0)
        assert hole.any()
        assert torch.equal(after["semantic"] == label, hole)
    assert (before["semantic"] == 1).all()


def test_holes_leave_semantic_maps_alone_unless_told():
    before = sample()
    after = CutOut(holes=(2, 2), shapes=[(9, 9)])(before)
    assert after["semantic"] is before["semantic"]
    only_image: Sample = {"image": before["image"]}
    assert "semantic" not in CutOut(holes=(2, 2), shapes=[(9, 9)], semantic=0)(only_image)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CLAHE(clip_limit=0),
        lambda: CLAHE(tiles=(0, 8)),
        lambda: RandomGamma(gamma=(2.0, 1.0)),
        lambda: RandomGamma(gamma=2.0, prob=-1),
        lambda: CutOut(holes=(1, 1), shapes=[(1, 1)], semantic=256),
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()
