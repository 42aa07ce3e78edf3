"""Necks behind plain transformers, whose maps are all of one size, against their formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from omma import necks
from omma.necks import Neck

NECKS: dict[str, Callable[[], Neck]] = {
    "Feature2Pyramid": lambda: necks.Feature2Pyramid(in_channels=(8, 8, 8, 8)),
    "MLANeck": lambda: necks.MLANeck(in_channels=(8, 8, 8, 8), out_channels=4),
    "MultiLevelNeck": lambda: necks.MultiLevelNeck(in_channels=(8, 8, 8, 8), out_channels=4),
}

every_neck = pytest.mark.parametrize("name", list(NECKS))


def maps() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, 8, 6, 10, generator=generator) for _ in range(4)]


@every_neck
def test_levels_are_as_stated_and_every_parameter_learns(name: str):
    neck = NECKS[name]().train()
    levels = neck(maps())
    strides = neck.out_strides((16, 16, 16, 16))
    for level, channels, stride in zip(levels, neck.out_channels, strides, strict=True):
        assert tuple(level.shape) == (2, channels, 96 // stride, 160 // stride)
    torch.stack([level.square().mean() for level in levels]).sum().backward()
    assert [n for n, p in neck.named_parameters() if p.grad is None] == []


@torch.no_grad()
def test_aggregation_adds_the_maps_behind():
    neck = necks.MLANeck(in_channels=(8, 8, 8, 8), out_channels=4).eval()
    given = maps()
    changed = [*given[:3], given[3] + 1]  # a norm over channels takes no notice of the same number for all
    for before, after in zip(neck(given), neck(changed)):
        torch.testing.assert_close(before, after)
    changed = [given[0] * torch.arange(8.0).view(8, 1, 1), *given[1:]]
    same = [torch.equal(before, after) for before, after in zip(neck(given), neck(changed))]
    assert same == [True, True, True, False]


@torch.no_grad()
def test_scales_are_interpolated_between_the_convolutions():
    neck = necks.MultiLevelNeck(in_channels=(8, 8), out_channels=4, scales=(0.5, 2)).eval()
    for level, x, size, i in zip(neck(maps()[:2]), maps(), [(3, 5), (12, 20)], range(2)):
        lateral = F.conv2d(
            x,
            neck.get_parameter(f"lateral_convs.{i}.conv.weight"),
            neck.get_parameter(f"lateral_convs.{i}.conv.bias"),
        )
        scaled = F.interpolate(lateral, size=size, mode="bilinear")
        expected = F.conv2d(
            scaled,
            neck.get_parameter(f"convs.{i}.conv.weight"),
            neck.get_parameter(f"convs.{i}.conv.bias"),
            padding=1,
        )
        torch.testing.assert_close(level, expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: necks.MultiLevelNeck(in_channels=(8,), out_channels=4), "one scale per map"),
        (lambda: necks.Feature2Pyramid(in_channels=(8, 8, 8, 4)), "four times the same number"),
    ],
)
def test_wrong_widths_are_named(build: Callable[[], Neck], message: str):
    with pytest.raises(ValueError, match=message):
        build()


@torch.no_grad()
def test_upscaled_maps_keep_the_places_of_their_pixels():
    neck = necks.Upscale(in_channels=(1,), scale=4)
    ramp = torch.arange(-2.0, 6.0).expand(1, 1, 3, 8)
    (found,) = neck([ramp])
    # Pixel j of the result lies at (j + 0.5) / 4 - 0.5 of the map, whose negative part is cut off first.
    places = ((torch.arange(32) + 0.5) / 4 - 0.5).clamp(0, 7)
    low, part = places.floor(), places - places.floor()
    expected = (1 - part) * (low - 2).clamp(min=0) + part * (low - 1).clamp(min=0)
    expected = torch.where(places == 7, 5.0, expected)
    torch.testing.assert_close(found, expected.expand(1, 1, 12, 32))
    assert neck.out_strides((16,)) == (4,)
