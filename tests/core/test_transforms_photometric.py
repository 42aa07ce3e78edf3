from __future__ import annotations

import cv2
import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F

from omma.data.transforms import PhotometricDistortion
from omma.structures import Sample


def noise() -> Sample:
    levels = np.random.default_rng(0).integers(0, 256, (3, 48, 64), dtype=np.uint8)
    return {"image": tv_tensors.Image(torch.from_numpy(levels))}


def distorted(seed: int, **arguments) -> tuple[np.ndarray, np.ndarray]:
    torch.manual_seed(seed)
    sample = noise()
    out = PhotometricDistortion(**{"swap_channels": False, "hue": 0, "saturation": (1, 1), **arguments})(
        sample
    )
    return sample["image"].numpy().astype(int), out["image"].numpy().astype(int)


def test_brightness_and_contrast_act_on_all_pixels_alike():
    seen = set()
    for seed in range(20):
        before, after = distorted(seed)
        levels = np.array([after[before == level][0] for level in np.unique(before)])
        np.testing.assert_array_equal(after, levels[np.searchsorted(np.unique(before), before)])
        assert (np.diff(levels) >= 0).all()
        seen.add(levels.tobytes())
    assert len(seen) > 5


def test_brightness_alone_shifts_levels_and_stops_at_the_ends():
    for seed in range(20):
        before, after = distorted(seed, contrast=(1, 1))
        shift = int(np.median(after - before))
        assert abs(shift) <= 32
        np.testing.assert_array_equal(after, np.clip(before + shift, 0, 255))


def test_no_saturation_makes_grey():
    outs = [distorted(seed, brightness=0, contrast=(1, 1), saturation=(0, 0))[1] for seed in range(8)]
    assert any((out.max(0) - out.min(0)).max() == 0 for out in outs)


def test_a_turn_of_the_hue_agrees_with_torchvision():
    torch.manual_seed(3)
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8), (48, 48))
    sample: Sample = {"image": tv_tensors.Image(torch.from_numpy(smooth).permute(2, 0, 1))}
    turn = PhotometricDistortion(
        brightness=0, contrast=(1, 1), saturation=(1, 1), hue=18, swap_channels=False
    )
    out = next(
        o for o in (turn(sample)["image"] + 0 for _ in range(50)) if not torch.equal(o, sample["image"] + 0)
    )
    degrees = torch.arange(-18, 19)
    errors = [
        (F.adjust_hue(sample["image"], d / 360).int() - out.int()).abs().float().mean()
        for d in degrees.tolist()
    ]
    assert min(errors) < 3


def test_a_swap_of_channels_is_a_permutation():
    sample = noise()
    neutral = {"brightness": 0, "contrast": (1, 1), "saturation": (1, 1), "hue": 0}
    torch.manual_seed(0)
    orders = set()
    for _ in range(60):
        out = PhotometricDistortion(**neutral)(sample)["image"] + 0
        match = [
            [torch.equal(channel, other) for other in sample["image"] + 0].index(True) for channel in out
        ]
        orders.add(tuple(match))
    assert len(orders) == 6
