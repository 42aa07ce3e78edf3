"""Losses of key points against their formulas and other libraries."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.nn import functional as F

from omma_pose.losses import KLDiscretLoss, RLELoss
from omma_pose.losses.rle import RealNVP


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_divergence_of_bins_is_torch_s():
    pred, target = torch.randn(2, 3, 8), torch.rand(2, 3, 8)
    weight = torch.tensor([[1.0, 0, 1], [1, 1, 0]])
    expected = F.kl_div(pred.log_softmax(-1), target, reduction="none").mean(-1) * weight
    found = KLDiscretLoss()(pred, target, weight=weight, avg_factor=3)
    torch.testing.assert_close(found, expected.sum() / 3)


def test_beta_sharpens_predictions_and_softmaxed_targets():
    pred, target = torch.randn(1, 2, 6), torch.rand(1, 2, 6)
    labels = (10 * target).softmax(-1)
    expected = (labels * (labels.log() - (10 * pred).log_softmax(-1))).mean(-1)
    found = KLDiscretLoss(beta=10, label_softmax=True)(pred, target, avg_factor=1)
    torch.testing.assert_close(found, expected.sum())


def test_no_weight_no_loss_even_of_empty_targets():
    loss = KLDiscretLoss()(torch.randn(1, 2, 6), torch.zeros(1, 2, 6), weight=torch.zeros(1, 2), avg_factor=2)
    assert float(loss) == 0


def test_untrained_couplings_leave_a_normal_distribution():
    flow = RealNVP()
    for parameter in flow.parameters():
        parameter.data.zero_()
    errors = torch.randn(10, 2)
    expected = MultivariateNormal(torch.zeros(2), torch.eye(2)).log_prob(errors)
    torch.testing.assert_close(flow(errors), expected)


def test_a_learned_density_integrates_to_one():
    flow = RealNVP()
    for parameter in flow.parameters():
        parameter.data.mul_(30)
    side = torch.linspace(-9, 9, 181, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    with torch.no_grad():
        total = flow.double()(grid).exp().sum() * (side[1] - side[0]) ** 2
    assert float(total) == pytest.approx(1.0, abs=0.02)


def test_likelihood_is_laplace_times_the_residual():
    loss = RLELoss()
    pred, target = torch.randn(2, 3, 4), torch.rand(2, 3, 2)
    found = loss(pred, target, avg_factor=2)
    total = 0.0
    for n in range(2):
        for k in range(3):
            sigma = pred[n, k, 2:].sigmoid()
            error = (pred[n, k, :2] - target[n, k]) / (sigma + 1e-9)
            density = loss.flow_model(error[None]).item()
            for axis in (0, 1):
                s, e = float(sigma[axis]), abs(float(error[axis]))
                total += math.log(s) - density + math.log(2 * s) + e
    assert found.item() == pytest.approx(total / 2, rel=1e-5)
