"""PointRend's points: which are drawn, what is decided at them, what they learn."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omma.structures import IGNORED
from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.point_rend import PointHead


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def point_head(*, num_points: int = 8, uncertain_share: float = 0.75, step_points: int = 5) -> PointHead:
    return PointHead(
        in_channels=4,
        channels=6,
        num_classes=3,
        loss=PixelCrossEntropy(),
        num_points=num_points,
        uncertain_share=uncertain_share,
        steps=1,
        step_points=step_points,
    )


@torch.no_grad()
def test_points_refine_the_least_certain_pixels_only():
    head = point_head(step_points=5)
    coarse, maps = torch.randn(1, 3, 4, 6), [torch.randn(1, 4, 8, 12)]
    fine = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    found = head(maps, coarse)
    changed = (found != fine).any(1).flatten()
    two = fine.topk(2, dim=1).values
    open_most = (two[:, 0] - two[:, 1]).flatten().argsort()[:5]
    assert changed.nonzero()[:, 0].tolist() == sorted(open_most.tolist())
    y, x = divmod(int(open_most[0]), 12)
    # A pixel of the fine map is a point of that map.
    inner = maps[0][0, :, y, x]
    around = nn.functional.grid_sample(
        coarse, torch.tensor([[[[(x + 0.5) / 6 - 1, (y + 0.5) / 4 - 1]]]]), align_corners=False
    )[0, :, 0, 0]
    for layer in head.fcs:
        inner = layer(torch.cat([inner, around])[None, :, None])[0, :, 0]
    torch.testing.assert_close(
        found[0, :, y, x], head.fc_seg(torch.cat([inner, around])[None, :, None])[0, :, 0]
    )


@torch.no_grad()
def test_points_of_training_lie_where_logits_are_open():
    head = point_head(num_points=400, uncertain_share=0.75)
    coarse = torch.zeros(2, 3, 16, 16)
    coarse[:, 0] = (torch.arange(16) - 7.5).abs() * 10  # open in the middle column only
    points = head.draw(coarse)
    assert points.shape == (2, 400, 2)
    off = (points[..., 0] - 0.5).abs()
    # A quarter of the candidates is taken; at the border logits fade to zero and so are more open there.
    assert off[:, :300].max() < 0.3
    assert off[:, 300:].max() > 0.4


@torch.no_grad()
def test_the_loss_of_points_takes_the_labels_under_them():
    head = point_head(num_points=64, uncertain_share=0.0)
    labels = torch.randint(0, 3, (1, 8, 12))
    labels[0, :2] = IGNORED
    coarse, maps = torch.randn(1, 3, 4, 6), [torch.randn(1, 4, 8, 12)]
    points = torch.rand(1, 64, 2)
    head.draw = lambda coarse: points  # pyright: ignore[reportAttributeAccessIssue]
    logits = head.at(maps, coarse, points)[0]
    total = 0.0
    for i, (x, y) in enumerate(points[0].tolist()):
        label = int(labels[0, int(y * 8), int(x * 12)])
        total -= 0.0 if label == IGNORED else float(logits[:, i].log_softmax(0)[label])
    found = head.loss(maps, coarse, labels)["point_loss_ce"]
    assert float(found) == pytest.approx(total / 64, rel=1e-5)
