"""Positives by the modes of their own losses (Kim and Lee, PAA, 2020)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omma.registry import register

_FLOOR = 1e-6
"""Added to a variance, so that equal losses have one."""
_TOLERANCE = 1e-3
"""Change of the mean log likelihood below which a fit has converged."""
_TINY = 10 * torch.finfo(torch.float64).eps


@register
class PAASeparation:
    """Fits two normal distributions to the losses of each object's candidates; the lower one is positive.

    Of the candidates that belong to the lower mode those up to its most likely one are taken.

    Args:
        candidates: those with the lowest losses on each level.
        iterations: of expectation maximisation, at most.
    """

    def __init__(self, *, candidates: int = 9, iterations: int = 100) -> None:
        if candidates < 1 or iterations < 1:
            raise ValueError(
                f"candidates and iterations must be at least 1, got {candidates} and {iterations}"
            )
        self.candidates = candidates
        self.iterations = iterations

    @torch.no_grad()
    def __call__(self, costs: Tensor, groups: Tensor, levels: Tensor) -> Tensor:
        """Which of K candidates are positive, (K,) bool.

        Args:
            costs: (K,) losses.
            groups: (K,) integers from 0: the object that each is a candidate of.
            levels: (K,) integers from 0.
        """
        chosen = torch.zeros_like(groups, dtype=torch.bool)
        if not len(costs):
            return chosen
        order = costs.argsort(stable=True)
        order = order[(groups * (levels.max() + 1) + levels)[order].argsort(stable=True)]
        order = order[_rank(groups * (levels.max() + 1) + levels, order) < self.candidates]
        # By object, and within it by loss.
        order = order[costs[order].argsort(stable=True)]
        order = order[groups[order].argsort(stable=True)]
        names, row = groups[order].unique_consecutive(return_inverse=True)
        place = _rank(groups, order)
        width = int(place.max()) + 1
        losses = costs.new_zeros(len(names), width, dtype=torch.float64)
        real = torch.zeros(len(names), width, dtype=torch.bool, device=costs.device)
        losses[row, place], real[row, place] = costs[order].double(), True
        chosen[order] = self._lower_mode(losses, real)[row, place]
        return chosen

    def _lower_mode(self, losses: Tensor, real: Tensor) -> Tensor:
        """The positives among the losses of each object, (O, W), rising; filling where not ``real``."""
        log_each = _fit(losses, real, self.iterations)  # (O, W, 2)
        lower = (log_each.argmax(dim=2) == 0) & real
        likelihood = log_each.logsumexp(dim=2).masked_fill(~lower, -math.inf)
        # Positions within the lower mode, up to that of the most likely.
        order = lower.cumsum(dim=1)
        peak = order.gather(1, likelihood.argmax(dim=1, keepdim=True))
        # One loss alone has no two modes.
        return lower & (order <= peak) & (real.sum(dim=1, keepdim=True) > 1)


def _rank(keys: Tensor, order: Tensor) -> Tensor:
    """Position of each of ``order`` among those with its key; equal keys lie together."""
    sorted_keys = keys[order]
    starts = torch.ones_like(sorted_keys, dtype=torch.bool)
    starts[1:] = sorted_keys[1:] != sorted_keys[:-1]
    place = torch.arange(len(order), device=order.device)
    return place - place.where(starts, 0).cummax(0).values


def _fit(losses: Tensor, real: Tensor, iterations: int) -> Tensor:
    """Log density (O, W, 2) of each loss under each of two weighted normal distributions.

    Expectation maximisation, which starts from the extremes with variance 1 and equal weights, and stops for
    each row by itself.
    """
    low = losses.where(real, math.inf).amin(dim=1)
    means = torch.stack([low, losses.where(real, -math.inf).amax(dim=1)], dim=1)  # (O, 2)
    variances, shares = torch.ones_like(means), torch.full_like(means, 0.5)
    done = torch.zeros(len(losses), dtype=torch.bool, device=losses.device)
    before = torch.full_like(low, -math.inf)
    count = real.sum(dim=1)
    for _ in range(iterations):
        log_each = _log_density(losses, means, variances, shares)
        log_all = log_each.logsumexp(dim=2)
        now = (log_all * real).sum(dim=1) / count
        part = (log_each - log_all[..., None]).exp() * real[..., None]  # (O, W, 2)
        mass = part.sum(dim=1) + _TINY
        new_means = (part * losses[..., None]).sum(dim=1) / mass
        spread = (part * (losses[..., None] - new_means[:, None]).square()).sum(dim=1) / mass
        keep = done[:, None]
        means = torch.where(keep, means, new_means)
        variances = torch.where(keep, variances, spread + _FLOOR)
        shares = torch.where(keep, shares, mass / mass.sum(dim=1, keepdim=True))
        done = done | ((now - before).abs() < _TOLERANCE)
        before = now
    return _log_density(losses, means, variances, shares)


def _log_density(losses: Tensor, means: Tensor, variances: Tensor, shares: Tensor) -> Tensor:
    square = (losses[..., None] - means[:, None]).square() / variances[:, None]
    return shares.log()[:, None] - 0.5 * (square + (2 * math.pi * variances).log()[:, None])
