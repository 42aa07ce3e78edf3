"""Weighted sums of rows on the CPU: a product with a sparse matrix that has as many entries in each row."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# PyTorch says so once in every process; the one operation that is used here is tested.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")


@torch.library.custom_op("omma::sum_rows", mutates_args=())
def sum_rows(table: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """The sums (B, D) of chosen ``rows`` (B, K) of a ``table`` (R, D), weighted by ``shares`` (B, K)."""
    return F.embedding_bag(rows, table, per_sample_weights=shares, mode="sum")


@sum_rows.register_fake
def _(table: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    return table.new_empty(rows.shape[0], table.shape[1])


@torch.library.custom_op("omma::sum_rows_backward", mutates_args=())
def sum_rows_backward(grad: Tensor, table: Tensor, rows: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of table and shares."""
    if rows.numel() == 0:
        return torch.zeros_like(table), torch.zeros_like(shares)
    from scipy.sparse import csr_matrix

    starts = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=rows.dtype)
    size = (len(rows), len(table))
    # PyTorch's own way to the table's gradient sorts all entries: it takes ten times as long.
    entries = (shares.detach().flatten().numpy(), rows.flatten().numpy(), starts.numpy())
    table_grad = torch.from_numpy(csr_matrix(entries, shape=size).T @ grad.contiguous().numpy())
    chosen = torch.sparse_csr_tensor(starts, rows.flatten(), shares.flatten(), size, check_invariants=False)
    shares_grad = torch.sparse.sampled_addmm(chosen, grad, table.T, beta=0.0).values()
    return table_grad, shares_grad.reshape(shares.shape)


@sum_rows_backward.register_fake
def _(grad: Tensor, table: Tensor, rows: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    return table.new_empty(table.shape), shares.new_empty(shares.shape)


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor]:
    table_grad, shares_grad = sum_rows_backward(grad, *ctx.saved_tensors)
    return table_grad, None, shares_grad


sum_rows.register_autograd(_differentiate, setup_context=_save)
