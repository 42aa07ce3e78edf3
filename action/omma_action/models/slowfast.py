"""SlowFast networks (Feichtenhofer et al., 2018): few frames in many channels, many frames in few."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.registry import register
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.heads.class_head import ClassHead
from omma_action.models.heads.pooled import mean_of
from omma_action.models.resnet3d import ResNet3d


@register
class SlowFast(ClipBackbone):
    """A slow network that takes in the maps of a fast one, stage by stage.

    Args:
        slow_path: with lateral connections.
        fast_path: with as many stages.
        slow_step: the slow one sees each so manieth frame of a clip.
        fast_step: likewise the fast one.
        weights: initial weights of both, a file or ``publisher://name``; null: theirs.

    Raises:
        ValueError: the two don't fit each other.
    """

    def __init__(
        self,
        *,
        slow_path: ResNet3d,
        fast_path: ResNet3d,
        slow_step: int,
        fast_step: int,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if not slow_path.laterals:
            raise ValueError("slow_path needs lateral connections: set slow_path.lateral")
        if slow_path.out_indices != fast_path.out_indices or len(slow_path.out_indices) != 1:
            raise ValueError(
                "both paths must return the same one stage, got out_indices "
                f"{slow_path.out_indices} and {fast_path.out_indices}"
            )
        if not 1 <= fast_step <= slow_step or slow_step % fast_step:
            raise ValueError(f"slow_step must be a multiple of fast_step, got {slow_step} and {fast_step}")
        self.slow_path, self.fast_path = slow_path, fast_path
        self.slow_step, self.fast_step = slow_step, fast_step
        self.out_channels = (*slow_path.out_channels, *fast_path.out_channels)
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, T, H, W) -> the last maps of the slow and of the fast path."""
        slow = self.slow_path.stem(x[:, :, :: self.slow_step])
        fast = self.fast_path.stem(x[:, :, :: self.fast_step])
        slow = self._beside(slow, fast, "conv1_lateral")
        for i in range(self.slow_path.out_indices[-1] + 1):
            slow, fast = self.slow_path.stage(i, slow), self.fast_path.stage(i, fast)
            slow = self._beside(slow, fast, f"layer{i + 1}_lateral")
        return slow, fast

    def _beside(self, slow: Tensor, fast: Tensor, name: str) -> Tensor:
        """The slow map with what the lateral connection ``name`` makes of the fast one, if there is one."""
        if name not in self.slow_path.laterals:
            return slow
        return torch.cat([slow, self.slow_path.get_submodule(name)(fast)], dim=1)


@register
class SlowFastHead(ClassHead):
    """Averages the maps of both paths and classifies both together.

    Args:
        num_classes, in_channels, dropout, init_std, loss, label_smoothing, average: as ``ClassHead``;
            ``in_channels`` of both paths together.
    """

    def check_maps(self, channels: Sequence[int]) -> None:
        """Whether both paths have ``in_channels`` together.

        Raises:
            ValueError: they don't.
        """
        super().check_maps([sum(channels)])

    def forward(self, maps: Sequence[Tensor], clips: int) -> Tensor:
        """Scores (B, C)."""
        slow, fast = (mean_of(x) for x in maps)
        return self.fc_cls(self.dropout(torch.cat([fast, slow], dim=1)))
