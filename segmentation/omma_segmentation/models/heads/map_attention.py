"""Attention of the pixels of one map to those of another, behind convolutions of the model's choice."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class MapAttention(nn.Module):
    """Softmax attention between two maps; the names of its parts are those of OpenMMLab's checkpoints.

    Args:
        key: the map that is looked at, (N, C2, H2, W2), to keys (N, D, H2, W2).
        query: the map that looks, (N, C1, H, W), to queries (N, D, H, W); may be ``key`` itself.
        value: the map that is looked at to values (N, E, H2, W2).
        out: what was seen, (N, E, H, W), to the result; null: it is the result.
        pool: keys and values (N, D or E, H2, W2) to fewer, (N, D or E, P); null: all pixels.
        scale: factor of the likeness of queries and keys; null: one over the root of D.
    """

    def __init__(
        self,
        *,
        key: nn.Module,
        query: nn.Module,
        value: nn.Module,
        out: nn.Module | None = None,
        pool: nn.Module | None = None,
        scale: float | None = None,
    ) -> None:
        super().__init__()
        self.key_project, self.query_project, self.value_project = key, query, value
        self.out_project = out
        self.pool = pool
        self.scale = scale

    def attend(self, x: Tensor, seen: Tensor) -> Tensor:
        """Maps that look (N, C1, H, W) and are looked at (N, C2, H2, W2) -> what is seen, (N, E, H, W)."""
        query, key, value = self.query_project(x), self.key_project(seen), self.value_project(seen)
        if self.pool is not None:
            key, value = self.pool(key), self.pool(value)
        query, key, value = (part.flatten(2).transpose(1, 2) for part in (query, key, value))
        found = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        found = found.transpose(1, 2).unflatten(2, x.shape[-2:])
        return found if self.out_project is None else self.out_project(found)
