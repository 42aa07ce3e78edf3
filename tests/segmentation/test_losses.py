"""Losses of pixels against their formulas in float64, written out plainly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from omma.structures import IGNORED
from omma_segmentation.losses import (
    HardPixels,
    LovaszLoss,
    PixelBinaryCrossEntropy,
    PixelBinaryDiceLoss,
    PixelCrossEntropy,
    PixelDiceLoss,
    PixelFocalLoss,
    PixelLoss,
    PixelTverskyLoss,
)

N, C, H, W = 2, 3, 5, 6
KINDS = [
    PixelCrossEntropy,
    PixelBinaryCrossEntropy,
    PixelDiceLoss,
    PixelBinaryDiceLoss,
    PixelTverskyLoss,
    LovaszLoss,
    PixelFocalLoss,
]


@pytest.fixture
def pixels():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(N, C, H, W, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, C, (N, H, W), generator=generator)
    labels[0, :2] = IGNORED
    return logits, labels


def rows(logits, labels):
    """Of labelled pixels: log probabilities (P, C) and classes (P,)."""
    valid = (labels != IGNORED).numpy()
    p = logits.permute(0, 2, 3, 1).numpy()[valid]
    return p - np.log(np.exp(p).sum(1, keepdims=True)), labels.numpy()[valid]


def test_cross_entropy_over_all_and_over_labelled_pixels(pixels):
    logits, labels = pixels
    logs, classes = rows(logits, labels)
    each = -logs[np.arange(len(logs)), classes]
    assert PixelCrossEntropy()(logits, labels).item() == pytest.approx(each.sum() / labels.numel())
    assert PixelCrossEntropy(over="labelled")(logits, labels).item() == pytest.approx(each.mean())
    weight = (0.5, 2.0, 1.0)
    factors = np.array(weight)[classes]
    weighted = PixelCrossEntropy(class_weight=weight, over="labelled").double()(logits, labels)
    assert weighted.item() == pytest.approx((each * factors).sum() / factors.sum(), rel=1e-6)


def test_hard_pixels_alone_count(pixels):
    logits, labels = pixels
    logs, classes = rows(logits, labels)
    right = logs[np.arange(len(logs)), classes]
    # The threshold by score, as so few are asked for at least.
    hard = np.exp(right) < 0.4
    loss = PixelCrossEntropy(hard=HardPixels(score=0.4, least=1))(logits, labels)
    assert loss.item() == pytest.approx(-right[hard].sum() / labels.numel())
    # All are asked for: all but the easiest, which is not below itself.
    loss = PixelCrossEntropy(hard=HardPixels(score=0.0, least=10**6))(logits, labels)
    assert loss.item() == pytest.approx(-np.sort(right)[:-1].sum() / labels.numel())


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


def test_binary_cross_entropy(pixels):
    logits, labels = pixels
    valid = labels != IGNORED
    truth = F.one_hot(labels.where(valid, 0), C).permute(0, 3, 1, 2).double()
    each = -(truth * logits.sigmoid().log() + (1 - truth) * (1 - logits.sigmoid()).log())
    each = each * valid[:, None]
    assert PixelBinaryCrossEntropy()(logits, labels).item() == pytest.approx(each.mean().item())
    wanted = each.sum() / (valid.sum() * C)
    assert PixelBinaryCrossEntropy(over="labelled")(logits, labels).item() == pytest.approx(wanted.item())


def overlaps(share, labels):
    """Dice and Tversky losses of each class: probabilities (C, P), labels (P,)."""
    dice, tversky = [], []
    share, labels = share[:, labels != IGNORED], labels[labels != IGNORED]
    for c, p in enumerate(share):
        t = (labels == c).double()
        both = (p * t).sum()
        dice.append(1 - (2 * both + 1) / (p.square().sum() + t.sum() + 1))
        fp, fn = (p * (1 - t)).sum(), ((1 - p) * t).sum()
        tversky.append(1 - (both + 1) / (both + 0.3 * fp + 0.7 * fn + 1))
    return torch.stack([torch.stack(dice), torch.stack(tversky)])


@pytest.mark.parametrize("per_image", [True, False])
def test_overlaps_of_each_class(pixels, per_image):
    logits, labels = pixels
    share = logits.softmax(1)
    if per_image:
        each = [overlaps(s.flatten(1), t.flatten()) for s, t in zip(share, labels)]
        dice, tversky = torch.stack(each).mean((0, 2)).tolist()
    else:
        joined = torch.cat([s.flatten(1) for s in share], dim=1), torch.cat([t.flatten() for t in labels])
        dice, tversky = overlaps(*joined).mean(1).tolist()
    assert PixelDiceLoss(per_image=per_image)(logits, labels).item() == pytest.approx(dice)
    assert PixelTverskyLoss(per_image=per_image)(logits, labels).item() == pytest.approx(tversky)


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


@pytest.mark.parametrize("per_image", [True, False])
def test_lovasz_is_the_area_under_the_jaccard_losses_of_all_thresholds(pixels, per_image):
    logits, labels = pixels

    def of(share, label):
        found = []
        for c in np.unique(label):
            t = label == c
            errors = np.abs(t - share[c])
            # Integral over thresholds of 1 - IoU when all pixels with a larger error are wrong.
            steps = np.unique(np.concatenate([[0.0], errors]))
            area = 0.0
            for low, high in pairwise(steps):
                wrong = errors > low
                area += (high - low) * (1 - (t & ~wrong).sum() / (t | wrong).sum())
            found.append(area)
        return np.mean(found)

    valid = (labels != IGNORED).numpy()
    share = logits.softmax(1).numpy()
    if per_image:
        wanted = np.mean([of(share[i][:, valid[i]], labels[i].numpy()[valid[i]]) for i in range(N)])
    else:
        wanted = of(share.transpose(1, 0, 2, 3)[:, valid], labels.numpy()[valid])
    assert LovaszLoss(per_image=per_image)(logits, labels).item() == pytest.approx(wanted)


def test_focal(pixels):
    logits, labels = pixels
    valid = labels != IGNORED
    p = logits.sigmoid().permute(0, 2, 3, 1)[valid]
    t = F.one_hot(labels[valid], C).double()
    right = torch.where(t == 1, p, 1 - p)
    each = torch.where(t == 1, 0.5, 0.5) * (1 - right) ** 2 * -right.log()
    assert PixelFocalLoss()(logits, labels).item() == pytest.approx(each.mean().item())


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_labelled_is_zero_with_gradients(kind):
    logits = torch.randn(N, C, H, W, requires_grad=True)
    loss: PixelLoss = kind(over="labelled") if "over" in kind.__init__.__annotations__ else kind()
    value = loss(logits, torch.full((N, H, W), IGNORED))
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad is not None
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind, pixels):
    logits, labels = pixels
    assert torch.autograd.gradcheck(lambda x: kind()(x, labels), (logits.requires_grad_(),))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_taken_to_float32(kind, pixels):
    logits, labels = pixels
    half = kind()(logits.bfloat16(), labels)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(kind()(logits.bfloat16().double(), labels).item(), rel=1e-4)


def test_class_weights_must_be_as_many_as_classes(pixels):
    with pytest.raises(ValueError, match="2 numbers for 3 classes"):
        PixelCrossEntropy(class_weight=(1.0, 2.0))(*pixels)
