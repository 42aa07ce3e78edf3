"""Learning-rate and weight-decay multipliers for some of the parameters, chosen by name or kind."""

from __future__ import annotations

import difflib
import fnmatch
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from omma.errors import OmmaError

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm)


class ParamRuleError(OmmaError):
    """A parameter rule that matches no parameter of the model."""


@dataclass(kw_only=True, frozen=True)
class ParamRule:
    """Multipliers for the parameters that match; the multipliers of several matching rules multiply."""

    match: str | None = None
    """Glob over the whole parameter name (``backbone.*``); without ``*``, ``?``, ``[``, a part of it."""
    kind: Literal["norm", "bias"] | None = None
    """``norm``: weight and bias of normalisation layers; ``bias``: biases of all other layers."""
    lr: float = 1.0
    weight_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.match is None and self.kind is None:
            raise ValueError(
                "a parameter rule needs 'match' (a name) or 'kind' ('norm' or 'bias'), got neither"
            )
        if self.lr < 0 or self.weight_decay < 0:
            raise ValueError(
                f"multipliers must not be negative, got lr {self.lr}, weight_decay {self.weight_decay}"
            )

    def names(self, name: str) -> bool:
        """Whether ``match`` fits the parameter called ``name``; true without a ``match``."""
        if self.match is None:
            return True
        if any(wild in self.match for wild in "*?["):
            return fnmatch.fnmatchcase(name, self.match)
        return self.match in name


def param_groups(
    model: nn.Module, *, lr: float, weight_decay: float, rules: Sequence[ParamRule] = ()
) -> list[dict[str, Any]]:
    """The trainable parameters in as few groups as they have different settings.

    Each group has ``params``, ``lr``, ``weight_decay`` and ``initial_lr``, which schedules multiply.

    Raises:
        ParamRuleError: a rule's ``match`` fits no parameter, frozen ones included.
    """
    kinds = _kinds(model)
    for rule in rules:
        if rule.match is not None and not any(rule.names(name) for name in kinds):
            raise ParamRuleError(_nothing_matches(rule.match, list(kinds)))
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        its_lr, its_decay = lr, weight_decay
        for rule in rules:
            if rule.names(name) and rule.kind in (None, kinds[name]):
                its_lr, its_decay = its_lr * rule.lr, its_decay * rule.weight_decay
        groups.setdefault((its_lr, its_decay), []).append(parameter)
    return [
        {"params": members, "lr": its_lr, "initial_lr": its_lr, "weight_decay": its_decay}
        for (its_lr, its_decay), members in groups.items()
    ]


def _kinds(model: nn.Module) -> dict[str, str]:
    """Parameter name -> ``norm``, ``bias`` or ``weight``."""
    kinds = {}
    for prefix, module in model.named_modules():
        for name, _ in module.named_parameters(prefix, recurse=False):
            if isinstance(module, _NORMS):
                kinds[name] = "norm"
            else:
                kinds[name] = "bias" if name.endswith("bias") else "weight"
    return kinds


def _nothing_matches(pattern: str, names: list[str]) -> str:
    parts = [name.split(".") for name in names]
    prefixes = sorted({".".join(part) for name in parts for part in itertools.accumulate([p] for p in name)})
    near = difflib.get_close_matches(pattern.strip("*."), prefixes, 3, cutoff=0.4)
    hint = " or ".join(map(repr, near)) or ", ".join(sorted({part[0] for part in parts}))
    return f"the parameter rule match '{pattern}' fits no parameter of the model; did you mean {hint}?"
