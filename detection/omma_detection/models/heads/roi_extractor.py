"""Features of regions from the level that fits their size (Lin et al., FPN, 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.ops import box_area, roi_align
from omma.registry import register


@register
class RoIExtractor(nn.Module):
    """RoIAlign on one level of a pyramid per region.

    A region of side s goes to level floor(log2(s / finest_scale)), held within the levels there are.

    Args:
        strides: input pixels per feature pixel of each level.
        size: height and width of the result.
        finest_scale: regions below twice this side, pixels, go to the finest level.
        sampling_ratio: samples per bin and axis; 0: adaptive.
    """

    def __init__(
        self,
        *,
        strides: tuple[int, ...] = (4, 8, 16, 32),
        size: int,
        finest_scale: int = 56,
        sampling_ratio: int = 0,
    ) -> None:
        super().__init__()
        self.strides = strides
        self.size = size
        self.finest_scale = finest_scale
        self.sampling_ratio = sampling_ratio

    def forward(self, maps: Sequence[Tensor], rois: Tensor, *, enlarge: float = 1.0) -> Tensor:
        """Levels (N, C, H_i, W_i), at least as many as strides, and rois (R, 5) -> (R, C, size, size).

        With ``enlarge`` regions that are so many times as large are pooled, from the rois' levels.
        """
        side = box_area(rois[:, 1:]).clamp(min=0).sqrt()
        level = (side / self.finest_scale + 1e-6).log2().floor().clamp(0, len(self.strides) - 1)
        if enlarge != 1:
            half = (rois[:, 3:] - rois[:, 1:3]) / 2 * enlarge
            centre = (rois[:, 1:3] + rois[:, 3:]) / 2
            rois = torch.cat([rois[:, :1], centre - half, centre + half], dim=1)
        out = maps[0].new_zeros(len(rois), maps[0].shape[1], self.size, self.size)
        for i, stride in enumerate(self.strides):
            chosen = (level == i).nonzero()[:, 0]
            pooled = roi_align(
                maps[i], rois[chosen], size=self.size, scale=1 / stride, sampling_ratio=self.sampling_ratio
            )
            out = out.index_copy(0, chosen, pooled)
        return out


def boxes_to_rois(boxes: Sequence[Tensor]) -> Tensor:
    """Boxes (R_i, 4) of each image as (sum R_i, 5) rows of (image, x1, y1, x2, y2)."""
    index = [torch.full((len(b), 1), i, dtype=torch.float32, device=b.device) for i, b in enumerate(boxes)]
    return torch.cat([torch.cat([i, b.float()], dim=1) for i, b in zip(index, boxes)])
