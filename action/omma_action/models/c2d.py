"""C2D: a network for images whose frames meet in poolings alone (Wang et al., Non-local Networks, 2017)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from omma.backbones import ResNet
from omma.backbones.base import run
from omma.backbones.resnet import Depth
from omma.registry import register
from omma_action.models.clip_backbone import ClipBackbone


@register
class C2D(ResNet, ClipBackbone):
    """A ResNet of bricks on each frame; behind its first stage each two frames become one by their maximum.

    Args:
        depth: number of layers.
        halve_frames: whether they do.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the first.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, ``torchvision://resnet50`` or a file; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: Depth = 50,
        halve_frames: bool = True,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (3,),
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__(
            depth=depth,
            bricks=True,
            norm_eval=norm_eval,
            frozen_stages=frozen_stages,
            out_indices=out_indices,
            recompute=recompute,
            weights=weights,
        )
        self.halve_frames = halve_frames

    def arrange(self, views: Tensor) -> Tensor:
        """Views (B, T, 3, H, W) as they are."""
        return views

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(B, T, 3, H, W) -> one map (B, C, T', H', W') per entry of ``out_indices``."""
        clips = len(x)
        x = F.max_pool2d(self.conv1(x.flatten(0, 1)), 3, stride=2)
        maps = []
        for i in range(max(self.out_indices) + 1):
            x = run(self.get_submodule(f"layer{i + 1}").children(), x, recompute=self.recompute)
            if i == 0 and self.halve_frames:
                x = F.max_pool3d(_joined(x, clips), (2, 1, 1)).transpose(1, 2).flatten(0, 1)
            if i in self.out_indices:
                maps.append(_joined(x, clips))
        return tuple(maps)


def _joined(x: Tensor, clips: int) -> Tensor:
    """Maps of frames (B * T, C, H, W) as (B, C, T, H, W)."""
    return x.unflatten(0, (clips, -1)).transpose(1, 2)
