"""CenterNet: perfect maps give the objects back, wherever images lie in the input."""

from __future__ import annotations

import pytest
import torch

from omma.losses import GaussianFocalLoss, L1Loss
from omma.model import Canvas, CentredPreprocessor
from omma_detection.models.centernet import CenterNetHead, CenterNetOutputs

from .detectors import CLASSES, batch, sample

BOXES = [[8.5, 10.25, 60.0, 50.5], [41.0, 30.5, 90.0, 88.0]]
SIZE = (96, 128)
CANVASES = {"corner": None, "middle": Canvas(128, 160, ((16, 16),))}


def head() -> CenterNetHead:
    return CenterNetHead(
        in_channels=8,
        channels=8,
        num_classes=CLASSES,
        heat_loss=GaussianFocalLoss(),
        size_loss=L1Loss(),
        offset_loss=L1Loss(),
        max_per_image=2,
    )


def perfect(canvas: Canvas | None) -> CenterNetOutputs:
    """Maps that say the boxes, the second more surely."""
    height, width = (canvas.height, canvas.width) if canvas else SIZE
    top, left = canvas.offsets[0] if canvas else (0, 0)
    heat = torch.full((1, CLASSES, height // 4, width // 4), 0.01)
    size, offset = torch.zeros(2, 1, 2, height // 4, width // 4)
    for number, (x1, y1, x2, y2) in enumerate(BOXES):
        x, y = ((x1 + x2) / 2 + left) / 4, ((y1 + y2) / 2 + top) / 4
        place = (0, slice(None), int(y), int(x))
        heat[0, number, int(y), int(x)] = 0.8 + number / 10
        size[place] = torch.tensor([x2 - x1, y2 - y1]) / 4
        offset[place] = torch.tensor([x - int(x), y - int(y)])
    return CenterNetOutputs(heat, size, offset)


@pytest.mark.parametrize("where", CANVASES)
def test_perfect_maps_give_the_objects(where: str):
    data = batch(sample(BOXES, SIZE, scale=2.0))
    found = head().predict(perfect(CANVASES[where]), data, CANVASES[where])[0]
    torch.testing.assert_close(found["boxes"], torch.tensor(BOXES).flip(0) / 2)
    assert found["labels"].tolist() == [1, 0]
    torch.testing.assert_close(found["scores"], torch.tensor([0.9, 0.8]))


@pytest.mark.parametrize("where", CANVASES)
def test_sizes_and_offsets_of_perfect_maps_cost_nothing(where: str):
    data = batch(sample(BOXES, SIZE))
    losses = head().loss(perfect(CANVASES[where]), data, CANVASES[where])
    assert float(losses["loss_wh"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["loss_offset"]) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("side", "padded"), [(480, 512), (511, 512), (512, 544), (640, 672)])
def test_evaluation_pads_to_the_next_multiple_and_training_to_the_least(side: int, padded: int):
    preprocessor = CentredPreprocessor(divisor=32, short=0).eval()
    assert preprocessor.padded(side) == (side | 31) + 1 == padded
    assert preprocessor.offset(side) == padded // 2 - side // 2
    preprocessor.train()
    assert preprocessor.padded(side) == (side if side % 32 == 0 else padded)


@pytest.mark.parametrize("bgr", [False, True])
def test_the_border_has_the_colour_that_is_asked_for(bgr: bool):
    preprocessor = CentredPreprocessor(
        mean=(10, 20, 30), std=(1, 2, 4), bgr=bgr, divisor=32, short=0, fill=(10, 0, 50)
    ).eval()
    out = preprocessor([torch.zeros(3, 32, 32, dtype=torch.uint8)])
    assert out.shape == (1, 3, 64, 64)
    border = [40, -10, -5] if bgr else [0, -10, 5]
    inside = [-10, -10, -7.5]
    assert out[0, :, 0, 0].tolist() == border
    assert out[0, :, 16, 47].tolist() == inside
    assert out[0, :, 16, 48].tolist() == border
