"""Clips that are mixed with others of their batch."""

from __future__ import annotations

import pytest
import torch

from omma_action.models.blending import Blending, ClipCutMix, ClipMixUp

from .networks import CLASSES, batch, images, recognizer


@pytest.mark.parametrize("blending", [ClipMixUp(alpha=0.8), ClipCutMix(alpha=1.0)])
def test_classes_have_the_share_that_their_clips_have(blending: Blending):
    torch.manual_seed(0)
    values = torch.tensor([1.0, 10.0, 100.0])
    for _ in range(20):
        clips = values.view(3, 1, 1, 1, 1).expand(3, 2, 3, 12, 20)
        mixed, targets = blending(clips, torch.eye(3))
        torch.testing.assert_close(mixed.mean(dim=(1, 2, 3, 4)), targets @ values)
        torch.testing.assert_close(targets.sum(1), torch.ones(3))


def test_a_window_shows_the_same_place_in_all_frames():
    torch.manual_seed(0)
    clips = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 3, 3, 8, 8)
    mixed, _ = ClipCutMix()(clips, torch.eye(4))
    torch.testing.assert_close(mixed, mixed[:, :1, :1].expand_as(mixed))
    assert mixed.unique().tolist() == [0, 1, 2, 3]


def test_clips_are_mixed_in_training_alone():
    from omma_action.models.tsn import TSNHead

    head = TSNHead(num_classes=CLASSES, in_channels=512, dropout=0.0)
    seen: list[int] = []

    class Counted(ClipMixUp):
        def mix(self, first, second, share):
            seen.append(len(first))
            return super().mix(first, second, share)

    model = recognizer(images(), head, blending=(Counted(),))
    model.eval().loss(batch())
    assert seen == []
    model.train().loss(batch())
    assert seen == [3]


def test_alpha_must_be_positive():
    with pytest.raises(ValueError, match="alpha must be positive, got 0"):
        ClipMixUp(alpha=0)
