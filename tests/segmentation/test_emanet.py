"""EMANet's bases against expectation maximisation written out plainly."""

from __future__ import annotations

import pytest
import torch

from omma_segmentation.models.emanet import BasisAttention


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_bases_are_fitted_by_expectation_maximisation_and_followed_in_training():
    module = BasisAttention(4, bases=3, steps=2, momentum=0.25).double().eval()
    x = torch.randn(2, 4, 3, 5).double()
    start, fitted = module.bases[0], []
    for image, found in zip(x, module(x)):
        pixels, bases, share = image.flatten(1).T, start, start
        for _ in range(2):
            share = (pixels @ bases).softmax(1)
            bases = pixels.T @ (share / share.sum(0))
            bases = bases / bases.norm(dim=0)
        fitted.append(bases)
        torch.testing.assert_close(found, (share @ bases.T).T.view_as(image))
    assert torch.equal(module.bases[0], start)
    before = start.clone()
    module.train()(x)
    both = torch.stack(fitted).mean(0)
    torch.testing.assert_close(module.bases[0], 0.75 * before + 0.25 * both / both.norm(dim=0))
