"""SegNeXt's factorisation against Lee and Seung's rules."""

from __future__ import annotations

import pytest
import torch

from omma_segmentation.models.segnext import NonNegativeFactors


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def factors(eval_steps: int = 7) -> NonNegativeFactors:
    return NonNegativeFactors(6, bases=3, steps=2, eval_steps=eval_steps).double().eval()


@torch.no_grad()
def test_a_map_is_factorised_by_multiplicative_updates():
    module = factors(eval_steps=4)
    x = torch.rand(2, 6, 5, 7).double()
    for image, found in zip(x, module(x)):
        product = image.flatten(1)  # (C, P)
        bases = module.start[0] / module.start[0].norm(dim=0)
        share = (product.T @ bases).softmax(1)
        # Lee and Seung's rules, the share first; it is improved once more at the end.
        for _ in range(4):
            share = share * (product.T @ bases) / (share @ bases.T @ bases + 1e-6)
            bases = bases * (product @ share) / (bases @ share.T @ share + 1e-6)
        share = share * (product.T @ bases) / (share @ bases.T @ bases + 1e-6)
        torch.testing.assert_close(found, (bases @ share.T).view_as(image))


@torch.no_grad()
def test_more_updates_come_nearer_to_a_map_of_few_bases():
    x = (torch.rand(1, 6, 3) @ torch.rand(1, 3, 40)).view(1, 6, 5, 8).double()
    errors = [float((factors(steps)(x) - x).norm() / x.norm()) for steps in (1, 10, 1000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02


@torch.no_grad()
def test_bases_are_drawn_in_training_only():
    module = factors()
    x = torch.rand(2, 6, 5, 7).double()
    torch.testing.assert_close(module(x)[1:], module(x[1:]))
    module.train()
    assert not torch.equal(module(x), module(x))
    assert "start" not in module.state_dict()
