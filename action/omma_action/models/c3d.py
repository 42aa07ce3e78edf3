"""C3D (Tran et al., Learning Spatiotemporal Features with 3D Convolutional Networks, 2014)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.registry import register
from omma_action.models.bricks import ConvNormAct3d, init_clips
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.heads.class_head import linear

_STAGES: tuple[tuple[tuple[str, int], ...], ...] = (
    (("1a", 64),),
    (("2a", 128),),
    (("3a", 256), ("3b", 256)),
    (("4a", 512), ("4b", 512)),
    (("5a", 512), ("5b", 512)),
)
"""Name and channels of each convolution; a pooling follows each group."""


@register
class C3D(ClipBackbone):
    """Eight 3x3x3 convolutions and two layers on all of their outputs: 16 frames of 112 x 112 to a vector.

    Args:
        dropout: share of the features that are dropped in training between the last two layers.
        init_std: deviation of these layers' initial weights.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(self, *, dropout: float = 0.5, init_std: float = 0.005, weights: str | None = None) -> None:
        super().__init__()
        channels = 3
        for stage in _STAGES:
            for name, width in stage:
                self.add_module(f"conv{name}", ConvNormAct3d(channels, width, (3, 3, 3)))
                channels = width
        init_clips(self)
        self.fc6 = linear(8192, 4096, std=init_std)
        self.fc7 = linear(4096, 4096, std=init_std)
        self.dropout = nn.Dropout(dropout)
        self.out_channels = (4096,)
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, 16, 112, 112) -> one (N, 4096).

        Raises:
            ValueError: clips of another size.
        """
        if x.shape[2:] != (16, 112, 112):
            raise ValueError(f"C3D takes 16 frames of 112 x 112, got {' x '.join(map(str, x.shape[2:]))}")
        for i, stage in enumerate(_STAGES):
            for name, _ in stage:
                x = self.get_submodule(f"conv{name}")(x)
            frames, border = min(i + 1, 2), 1 if i == len(_STAGES) - 1 else 0
            x = F.max_pool3d(x, (frames, 2, 2), padding=(0, border, border))
        x = torch.relu(self.fc6(x.flatten(1)))
        return (torch.relu(self.fc7(self.dropout(x))),)
