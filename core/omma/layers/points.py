"""Points that a network decides one by one (Kirillov et al., PointRend, 2019)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class PointLayer(nn.Module):
    """A linear layer that all points share, and ReLU; ``conv`` as in OpenMMLab's checkpoints.

    Args:
        in_channels: C.
        out_channels: C'.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, P) -> (N, C', P)."""
        return self.conv(x).relu()


def draw_points(
    uncertainty: Callable[[Tensor], Tensor],
    maps: int,
    *,
    num_points: int,
    oversample: int,
    uncertain_share: float,
    device: torch.device,
) -> Tensor:
    """Points (N, P, 2), x and y in 0..1, of which a share lies where a network is least sure.

    Args:
        uncertainty: of candidates (N, P', 2), as (N, P'); the higher, the less sure.
        maps: N.
        num_points: P.
        oversample: candidates for each point.
        uncertain_share: share of the points that are the most uncertain candidates; others are random.
        device: of the points.
    """
    candidates = torch.rand(maps, num_points * oversample, 2, device=device)
    taken = int(uncertain_share * num_points)
    index = uncertainty(candidates).topk(taken, dim=1).indices
    chosen = candidates.gather(1, index[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, torch.rand(maps, num_points - taken, 2, device=device)], dim=1)
