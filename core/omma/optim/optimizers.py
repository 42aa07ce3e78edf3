"""Optimisers as recipes: settings now, a ``torch.optim`` optimiser once there is a model."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from omma.optim.rules import ParamRule, param_groups
from omma.registry import register


class Optimizer(ABC):
    """What all recipes share: the learning rate and the batch it was chosen for.

    Args:
        lr: learning rate at ``reference_batch``.
        weight_decay: for every parameter that no rule changes.
        reference_batch: total samples per step for which ``lr`` was tuned; the rate in use is ``lr`` times
            the real total over this (linear scaling, Goyal et al., https://arxiv.org/abs/1706.02677).
            ``lr`` is taken as it is if null.
        rules: multipliers for some of the parameters.
    """

    def __init__(
        self, *, lr: float, weight_decay: float, reference_batch: int | None, rules: tuple[ParamRule, ...]
    ) -> None:
        if lr <= 0:
            raise ValueError(f"lr must be positive, got {lr}")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {weight_decay}")
        if reference_batch is not None and reference_batch < 1:
            raise ValueError(f"reference_batch must be at least 1, got {reference_batch}")
        self.lr = lr
        self.weight_decay = weight_decay
        self.reference_batch = reference_batch
        self.rules = rules

    def scaled_lr(self, batch_size: int) -> float:
        """The learning rate for ``batch_size`` samples a step, all processes and accumulation counted."""
        return self.lr * batch_size / self.reference_batch if self.reference_batch else self.lr

    @abstractmethod
    def build(self, model: nn.Module, batch_size: int) -> torch.optim.Optimizer:
        """The optimiser of ``model``'s trainable parameters for ``batch_size`` samples a step in total.

        Raises:
            ParamRuleError: a rule matches no parameter.
        """

    def groups(self, model: nn.Module, batch_size: int) -> list[dict[str, object]]:
        """Parameter groups at the scaled learning rate."""
        lr = self.scaled_lr(batch_size)
        return param_groups(model, lr=lr, weight_decay=self.weight_decay, rules=self.rules)


@register
class SGD(Optimizer):
    """Stochastic gradient descent with momentum. Arguments beyond ``Optimizer``'s are torch's."""

    def __init__(
        self,
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        reference_batch: int | None = None,
        rules: tuple[ParamRule, ...] = (),
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, reference_batch=reference_batch, rules=rules)
        if nesterov and momentum <= 0:
            raise ValueError(f"nesterov needs a positive momentum, got {momentum}")
        self.momentum = momentum
        self.nesterov = nesterov

    def build(self, model: nn.Module, batch_size: int) -> torch.optim.Optimizer:
        """See ``Optimizer.build``."""
        return torch.optim.SGD(
            self.groups(model, batch_size), lr=self.lr, momentum=self.momentum, nesterov=self.nesterov
        )


@register
class AdamW(Optimizer):
    """Adam with decoupled weight decay (https://arxiv.org/abs/1711.05101)."""

    def __init__(
        self,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        reference_batch: int | None = None,
        rules: tuple[ParamRule, ...] = (),
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, reference_batch=reference_batch, rules=rules)
        self.betas = betas
        self.eps = eps

    def build(self, model: nn.Module, batch_size: int) -> torch.optim.Optimizer:
        """See ``Optimizer.build``."""
        return torch.optim.AdamW(self.groups(model, batch_size), lr=self.lr, betas=self.betas, eps=self.eps)


@register
class Adam(Optimizer):
    """Adam with weight decay in the gradient (https://arxiv.org/abs/1412.6980)."""

    def __init__(
        self,
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        reference_batch: int | None = None,
        rules: tuple[ParamRule, ...] = (),
    ) -> None:
        super().__init__(lr=lr, weight_decay=weight_decay, reference_batch=reference_batch, rules=rules)
        self.betas = betas
        self.eps = eps

    def build(self, model: nn.Module, batch_size: int) -> torch.optim.Optimizer:
        """See ``Optimizer.build``."""
        return torch.optim.Adam(self.groups(model, batch_size), lr=self.lr, betas=self.betas, eps=self.eps)
