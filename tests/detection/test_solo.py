"""SOLO's losses on logits against the formulas of the paper, cell by cell, in float64."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from omma.losses import DiceLoss, FocalLoss
from omma_detection.models.assigners import CenterCellAssigner
from omma_detection.models.heads.cell_head import CellHead
from omma_detection.models.solo import DecoupledSOLOHead, SOLOHead

from .detectors import CLASSES, batch, sample

GRIDS = (6, 5, 4)
SIZE = (64, 96)
BOXES = [[4.0, 4, 30, 40], [20.0, 8, 90, 60], [22.0, 10, 88, 58]]


def head(kind: str) -> CellHead:
    assigner = CenterCellAssigner(grids=GRIDS, scale_ranges=((1, 40), (20, 80), (50, 500)), center_scale=0.4)
    common = {
        "in_channels": 8,
        "channels": 32,
        "num_convs": 1,
        "num_classes": CLASSES,
        "strides": (4, 8, 16),
        "assigner": assigner,
        "cls_loss": FocalLoss(),
    }
    if kind == "solo":
        return SOLOHead(mask_loss=DiceLoss(loss_weight=3.0), **common)
    return DecoupledSOLOHead(
        mask_loss=DiceLoss(activated=True, loss_weight=3.0), one_tower=kind == "light", **common
    )


def dice(probability: np.ndarray, mask: np.ndarray) -> float:
    squares = (probability**2).sum() + (mask**2).sum() + 2e-3
    return 1 - 2 * (probability * mask).sum() / squares


def sigmoid(x: Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-x.detach().double().numpy()))


def cell_mask(factors: tuple[Tensor, ...], cell: int, grid: int) -> np.ndarray:
    if len(factors) == 1:
        return sigmoid(factors[0][0, cell])
    row, column = divmod(cell, grid)
    return sigmoid(factors[0][0, column]) * sigmoid(factors[1][0, row])


@pytest.mark.parametrize("kind", ["solo", "decoupled", "light"])
def test_losses_are_those_of_the_paper(kind: str):
    torch.manual_seed(0)
    module = head(kind)
    torch.nn.init.normal_(module.conv_cls.weight, std=0.2)
    maps = [torch.randn(1, 8, SIZE[0] // s, SIZE[1] // s) for s in (4, 8, 16)]
    truth = sample(BOXES, SIZE)
    outputs = module(maps)
    found = module.loss(outputs, batch(truth))

    centres = torch.tensor([[(b[0] + b[2] - 1) / 2, (b[1] + b[3] - 1) / 2] for b in BOXES])
    owners = (
        module.assigner(torch.tensor([BOXES]), centres[None], SIZE).owners[0].split([g * g for g in GRIDS])
    )
    masks = truth["masks"].numpy()
    mask_loss = class_loss = 0.0
    count = 0
    # The levels lie at strides 8, 8 and 8, and their masks at half of that.
    for grid, own, factors, logits in zip(GRIDS, owners, outputs.masks, outputs.classes):
        for cell, item in enumerate(own.tolist()):
            probability = sigmoid(logits[0, :, cell // grid, cell % grid])
            for label, p in enumerate(probability):
                right = item >= 0 and int(truth["labels"][item]) == label
                class_loss -= 0.25 * (1 - p) ** 2 * np.log(p) if right else 0.75 * p**2 * np.log(1 - p)
            if item >= 0:
                count += 1
                small = cv2.resize(masks[item], (24, 16), interpolation=cv2.INTER_LINEAR)
                mask_loss += 3 * dice(cell_mask(factors, cell, grid), small.astype(float))
    assert count > 8
    assert found["loss_mask"].item() == pytest.approx(mask_loss / count, rel=1e-5)
    assert found["loss_cls"].item() == pytest.approx(class_loss / (count + 1), rel=1e-5)
