"""PIDNet's four losses, written out plainly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from omma.structures import IGNORED
from omma_segmentation.losses import BoundaryCrossEntropy, HardPixels, PixelCrossEntropy, label_boundaries
from omma_segmentation.models.pidnet import PIDHead

from .patches import labels_of


def test_pid_head_learns_classes_again_where_it_sees_boundaries():
    torch.manual_seed(0)
    hard = HardPixels(score=2.0)
    head = PIDHead(
        in_channels=(4, 8, 4),
        channels=8,
        num_classes=3,
        loss=PixelCrossEntropy(over="hard", hard=hard),
        detail_loss=PixelCrossEntropy(loss_weight=0.4),
        boundary_loss=BoundaryCrossEntropy(loss_weight=20),
        aware_loss=PixelCrossEntropy(over="hard", hard=hard),
        boundary_score=0.5,
        norm="bn",
    ).eval()
    labels = labels_of()
    maps = [torch.randn(2, c, *labels.shape[1:]) for c in (4, 8, 4)]
    detail = head.p_cls_seg(head.p_head(maps[0])).log_softmax(1)
    fused = head.logits(maps).log_softmax(1)
    edges = head.d_cls_seg(head.d_head(maps[2]))
    valid, seen = labels != IGNORED, edges[:, 0] > 0
    assert (valid & seen).any()
    assert (valid & ~seen).any()
    right = labels.where(valid, 0)[:, None]

    def mean(logs: Tensor, which: Tensor) -> float:
        return -logs.gather(1, right)[:, 0][which].mean().item()

    losses = {name: value.item() for name, value in head.loss(maps, labels).items()}
    truth = label_boundaries(labels, 4)
    assert losses == pytest.approx(
        {
            "loss_sem_p": 0.4 * mean(detail, valid) * valid.float().mean().item(),
            "loss_sem_i": mean(fused, valid),
            "loss_bd": BoundaryCrossEntropy(loss_weight=20)(edges, truth).item(),
            "loss_sem_bd": mean(fused, valid & seen),
        },
        rel=1e-5,
    )
