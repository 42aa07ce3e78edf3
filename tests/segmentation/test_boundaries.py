"""Boundaries in labels, and what is learnt from them, against OpenCV and formulas written out plainly."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from omma.structures import IGNORED
from omma_segmentation.losses import (
    BoundaryCrossEntropy,
    HardPixels,
    PixelBinaryDiceLoss,
    PixelCrossEntropy,
    label_boundaries,
)
from omma_segmentation.models.pidnet import PIDHead
from omma_segmentation.models.stdc import STDCHead

STEPS = {"down": (1, 0), "right": (0, 1), "down right": (1, 1), "down left": (1, -1)}


def labels_of(size: tuple[int, int] = (20, 24)) -> Tensor:
    """A few patches of classes, and a part without labels."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randint(0, 3, (2, size[0] // 4, size[1] // 4), generator=generator)
    labels = patches.repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels[0, :6, :7] = IGNORED
    return labels


def marked(labels: np.ndarray) -> np.ndarray:
    """One pixel at each change of class, pixel by pixel."""
    height, width = labels.shape
    edges = np.zeros(labels.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            for name, (dy, dx) in STEPS.items():
                if not (y + dy < height and 0 <= x + dx < width):
                    continue
                pair = labels[y, x], labels[y + dy, x + dx]
                if pair[0] != pair[1] and IGNORED not in pair:
                    edges[(y + dy, x + dx) if name == "down" else (y, x)] = 1
    return edges


@pytest.mark.parametrize("width", [1, 3, 4])
def test_boundaries_are_the_changes_of_class_dilated(width: int):
    labels = labels_of()
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (width, width))
    expected = np.stack([cv2.dilate(marked(each), kernel) for each in labels.numpy()])
    assert 0 < expected.mean() < 1
    np.testing.assert_array_equal(label_boundaries(labels, width).numpy(), expected)


def test_boundary_loss_weighs_each_kind_by_the_other():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 5, 6, generator=generator, dtype=torch.float64)
    truth = (torch.rand(2, 5, 6, generator=generator) < 0.2).long()
    p = 1 / (1 + np.exp(-logits[:, 0].numpy()))
    on = truth.numpy() == 1
    share = on.mean()
    total = -((1 - share) * np.log(p[on])).sum() - (share * np.log(1 - p[~on])).sum()
    assert BoundaryCrossEntropy()(logits, truth).item() == pytest.approx(total / on.size, rel=1e-6)
    assert BoundaryCrossEntropy()(logits, torch.zeros_like(truth)).item() == 0


def test_cross_entropy_over_hard_pixels_is_their_mean():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 5, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 5, 6), generator=generator)
    labels[0, :2] = IGNORED
    weight = (0.5, 2.0, 1.0)
    p = logits.softmax(1).permute(0, 2, 3, 1)[labels != IGNORED].numpy()
    classes = labels[labels != IGNORED].numpy()
    right = p[np.arange(len(p)), classes]
    # The 20 least sure of the whole batch count, and all below one half.
    bound = max(0.5, np.sort(right)[20])
    each = -np.log(right) * np.array(weight)[classes]
    loss = PixelCrossEntropy(
        class_weight=weight, over="hard", hard=HardPixels(score=0.5, least=20, batch=True)
    ).double()
    assert loss(logits, labels).item() == pytest.approx(each[right < bound].mean(), rel=1e-6)
    with pytest.raises(ValueError, match="hard is null"):
        PixelCrossEntropy(over="hard")


def test_binary_dice_takes_all_classes_as_one_mask():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (2, 4, 5), generator=generator)
    labels[0, 0] = IGNORED
    expected = []
    for z, t in zip(logits.numpy(), labels.numpy(), strict=True):
        p = 1 / (1 + np.exp(-z[:, t != IGNORED]))
        truth = np.stack([t[t != IGNORED] == c for c in range(2)])
        expected.append(1 - 2 * (p * truth).sum() / ((p**2).sum() + truth.sum() + 2e-3))
    assert PixelBinaryDiceLoss()(logits, labels).item() == pytest.approx(np.mean(expected))


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


def test_detail_of_labels_is_their_laplacian_at_three_strides():
    head = STDCHead(in_channels=4, channels=4, loss=PixelCrossEntropy())
    labels = labels_of((16, 20))
    values = np.pad(labels.numpy().astype(float), ((0, 0), (1, 1), (1, 1)))
    height, width = labels.shape[1:]
    expected = np.zeros(labels.shape)
    for y in range(height):
        for x in range(width):
            for stride, share in ((1, 0.6), (2, 0.3), (4, 0.1)):
                # Of the strided map the nearest pixel: the one that begins the cell.
                top, left = y // stride * stride, x // stride * stride
                window = values[:, top : top + 3, left : left + 3]
                laplacian = 9 * window[:, 1, 1] - window.sum((1, 2))
                expected[:, y, x] += share * (laplacian > 0.1)
    found = head.detail(labels).numpy()
    np.testing.assert_array_equal(found, expected > 0.1 + 1e-6)
    assert 0 < found.mean() < 1
