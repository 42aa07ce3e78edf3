"""Focal losses of single elements (Lin et al., Focal Loss for Dense Object Detection, 2017).

Both are computed in float32 or better from logits of any floating type, and are exact however sure the model
is: nothing is ever the logarithm of a rounded probability.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.precision import at_least_float32

_TINY = 1e-30
"""Added where a power's slope at 0 would be infinite."""


def sigmoid_focal_loss(logits: Tensor, labels: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of each class as a decision of its own.

    Args:
        logits: (N, C).
        labels: (N,) int64; from C on (and below 0) it is background, right for no class.
        alpha: weight of the positives, 1 - alpha that of the negatives.
        gamma: how fast easy examples fade, 0 or more.

    Returns:
        (N, C) float32, float64 for logits of float64.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    check_tensors(
        "sigmoid_focal_loss", ("logits", logits, ("N", "C"), "float"), ("labels", labels, ("N",), "int")
    )
    return _SIGMOID.kernel(logits)(logits, labels, alpha, gamma)


def softmax_focal_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    alpha: float = 1.0,
    gamma: float = 2.0,
    class_weight: Tensor | None = None,
) -> Tensor:
    """-alpha (1 - p)^gamma log p of the labelled class's softmax probability p.

    Args:
        logits: (N, C).
        labels: (N,) int64 below C; a negative one is ignored: its loss is 0.
        alpha: factor of all.
        gamma: how fast easy examples fade, 0 or more.
        class_weight: (C,) factor of each label's class.

    Returns:
        (N,) float32, float64 for logits of float64.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    op = "softmax_focal_loss"
    check_tensors(op, ("logits", logits, ("N", "C"), "float"), ("labels", labels, ("N",), "int"))
    with torch.autocast(logits.device.type, enabled=False):
        log_p = at_least_float32(logits).log_softmax(dim=1)
        label = labels.long().clamp(min=0)
        chosen = log_p.gather(1, label[:, None])[:, 0]
        weight = torch.where(labels >= 0, alpha, 0.0).to(chosen.dtype)
        if class_weight is not None:
            check_tensors(
                op, ("logits", logits, ("N", "C"), "float"), ("class_weight", class_weight, ("C",), "float")
            )
            weight = weight * class_weight[label]
        return -weight * (-torch.expm1(chosen) + _TINY) ** gamma * chosen


def _reference(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    x = at_least_float32(logits)
    hot = labels[:, None] == torch.arange(x.shape[1], device=x.device)
    # The logit of being wrong: everything below is stable in it, however sure the model is.
    wrong = torch.where(hot, -x, x)
    balance = torch.where(hot, alpha, 1 - alpha).to(x.dtype)
    return balance * (gamma * F.logsigmoid(wrong)).exp() * F.softplus(wrong)


def _triton(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    from omma.ops.kernels.focal_loss import sigmoid_focal_loss as kernel

    return kernel(logits, labels, alpha, gamma)


_SIGMOID = Operator("sigmoid_focal_loss", triton=_triton, reference=_reference)
