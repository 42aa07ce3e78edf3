"""Residual log-likelihood estimation (Li et al., Human Pose Regression with RLE, ICCV 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from omma.losses import Loss
from omma.registry import register


class RealNVP(nn.Module):
    """The density of errors in the plane, learned as a chain of couplings (Dinh et al., Real NVP, 2016).

    Each of six couplings scales and moves one coordinate by what it makes of the other; together they take an
    error to where errors are normally distributed.
    """

    mask: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([[0.0, 1.0], [1.0, 0.0]] * 3), persistent=False)
        self.s = nn.ModuleList(_coupling(nn.Tanh()) for _ in range(6))
        self.t = nn.ModuleList(_coupling() for _ in range(6))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, gain=0.01)

    def forward(self, errors: Tensor) -> Tensor:
        """(P, 2) -> (P,) logarithm of the density."""
        volume = errors.new_zeros(len(errors))
        for mask, scale, move in zip(self.mask.flip(0), reversed(list(self.s)), reversed(list(self.t))):
            kept = mask * errors
            s, t = scale(kept) * (1 - mask), move(kept) * (1 - mask)
            errors = (1 - mask) * (errors - t) * torch.exp(-s) + kept
            volume = volume - s.sum(dim=1)
        return volume - 0.5 * (errors**2).sum(dim=1) - math.log(2 * math.pi)


def _coupling(*last: nn.Module) -> nn.Sequential:
    layers = (nn.Linear(2, 64), nn.LeakyReLU(), nn.Linear(64, 64), nn.LeakyReLU(), nn.Linear(64, 2))
    return nn.Sequential(*layers, *last)


@register
class RLELoss(Loss):
    """Minus the log-likelihood of coordinates under a Laplace distribution times a learned residual.

    Args:
        loss_weight: factor of the whole.
    """

    def __init__(self, *, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        self.flow_model = RealNVP()

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, K, 2) of predictions (N, K, 4): x, y and the logits of their deviations."""
        sigma = pred[..., 2:].sigmoid()
        error = (pred[..., :2] - target) / (sigma + 1e-9)
        density = self.flow_model(error.flatten(0, 1)).view(*error.shape[:2], 1)
        return sigma.log() - density + (2 * sigma).log() + error.abs()
