"""Sigmoid focal loss in one pass over the logits, forward and backward; bound by memory."""

# pyright: reportArgumentType=false
# Python numbers become constexpr arguments at the launch.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from omma.ops.kernels.launch import compute_type, on_device_of

_BLOCK = 1024


@triton.jit
def _softplus(z):
    # log(1 + e) loses what e adds to 1 in rounding; dividing by what was really added mends that.
    e = tl.exp(-tl.abs(z))
    grown = 1.0 + e
    added = grown - 1.0
    log1p = tl.where(added == 0.0, e, tl.log(grown) * (e / tl.where(added == 0.0, 1.0, added)))
    return tl.maximum(z, 0.0) + log1p


@triton.jit
def _wrong_logit(logits, labels, offset, inside, classes, compute: tl.constexpr):
    label = tl.load(labels + offset // classes, mask=inside, other=-1)
    x = tl.load(logits + offset, mask=inside, other=0.0).to(compute)
    hot = label == offset % classes
    return tl.where(hot, -x, x), hot


@triton.jit
def _forward(logits, labels, out, total, classes, alpha, gamma, block: tl.constexpr, compute: tl.constexpr):
    offset = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = offset < total
    z, hot = _wrong_logit(logits, labels, offset, inside, classes, compute)
    fade = tl.exp(-gamma * _softplus(-z))
    loss = tl.where(hot, alpha, 1.0 - alpha) * fade * _softplus(z)
    tl.store(out + offset, loss, mask=inside)


@triton.jit
def _backward(
    logits,
    labels,
    grad,
    out,
    total,
    classes,
    alpha,
    gamma,
    block: tl.constexpr,
    compute: tl.constexpr,
):
    offset = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    inside = offset < total
    z, hot = _wrong_logit(logits, labels, offset, inside, classes, compute)
    loss, other = _softplus(z), _softplus(-z)
    # d/dz of sigmoid(z)^gamma softplus(z), where sigmoid(z) = exp(-softplus(-z)).
    slope = tl.exp(-gamma * other) * (gamma * tl.exp(-loss) * loss + tl.exp(-other))
    slope = tl.where(hot, -alpha, 1.0 - alpha) * slope
    incoming = tl.load(grad + offset, mask=inside, other=0.0).to(compute)
    tl.store(out + offset, (slope * incoming).to(out.dtype.element_ty), mask=inside)


@torch.library.custom_op("omma::sigmoid_focal_loss", mutates_args=())
def sigmoid_focal_loss(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    """See ``omma.ops.sigmoid_focal_loss``: (N, C) from logits (N, C) and labels (N,)."""
    logits, labels = logits.contiguous(), labels.contiguous()
    out = _empty_losses(logits)
    total = logits.numel()
    if total:
        with on_device_of(logits):
            _forward[(triton.cdiv(total, _BLOCK),)](
                logits,
                labels,
                out,
                total,
                logits.shape[1],
                alpha,
                gamma,
                block=_BLOCK,
                compute=compute_type(logits),
            )
    return out


@torch.library.custom_op("omma::sigmoid_focal_loss_backward", mutates_args=())
def sigmoid_focal_loss_backward(
    grad: Tensor, logits: Tensor, labels: Tensor, alpha: float, gamma: float
) -> Tensor:
    """Gradient (N, C) of the logits, of their type, from that of the losses."""
    logits, labels, grad = logits.contiguous(), labels.contiguous(), grad.contiguous()
    out = torch.empty_like(logits)
    total = logits.numel()
    if total:
        with on_device_of(logits):
            _backward[(triton.cdiv(total, _BLOCK),)](
                logits,
                labels,
                grad,
                out,
                total,
                logits.shape[1],
                alpha,
                gamma,
                block=_BLOCK,
                compute=compute_type(logits),
            )
    return out


def _empty_losses(logits: Tensor) -> Tensor:
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return torch.empty(logits.shape, dtype=dtype, device=logits.device)


@sigmoid_focal_loss.register_fake
def _(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    return _empty_losses(logits)


@sigmoid_focal_loss_backward.register_fake
def _(grad: Tensor, logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    return torch.empty(logits.shape, dtype=logits.dtype, device=logits.device)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, labels, ctx.alpha, ctx.gamma = inputs
    ctx.save_for_backward(logits, labels)


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    logits, labels = ctx.saved_tensors
    return sigmoid_focal_loss_backward(grad, logits, labels, ctx.alpha, ctx.gamma), None, None, None


sigmoid_focal_loss.register_autograd(_gradients, setup_context=_save)
