"""Temporal interlacing network (Shao et al., 2020): how far channels move along time is learnt."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.ops import tin_shift
from omma.registry import register
from omma_action.models.frame_mixing import Around, FrameMixing, brick_stages, to_clips, wrap_first

_GROUPS = 2
"""Of channels that move on, and as many that move back by as much."""


@register
class TemporalInterlace(FrameMixing):
    """Moves some channels of the input of each first convolution in a ResNet.

    Args:
        frames: of a clip.
        divisor: one channel of so many moves.

    Raises:
        ValueError: ``divisor`` is below 1.
    """

    def __init__(self, *, frames: int, divisor: int = 4) -> None:
        super().__init__(frames=frames)
        if divisor < 1:
            raise ValueError(f"divisor must be at least 1, got {divisor}")
        self.divisor = divisor

    def put_into(self, backbone: Backbone) -> None:
        """See ``FrameMixing``."""
        wrap = partial(InterlacedConv, frames=self.frames, divisor=self.divisor)
        for stage in brick_stages(backbone):
            for block in stage:
                wrap_first(block, wrap)


class InterlacedConv(Around):
    """A layer called ``net2`` on interlaced maps (B * T, C, H, W); what interlaces is ``net1``."""

    inside = "net2"
    added_names = ("net1",)

    def __init__(self, conv: nn.Conv2d, *, frames: int, divisor: int) -> None:
        super().__init__()
        self.net1, self.net2 = Interlace(conv.in_channels // divisor, frames=frames), conv

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> (B * T, C', H', W')."""
        return self.net2(self.net1(x))


class Interlace(nn.Module):
    """Moves the first ``channels`` of (B * T, C, H, W) along time and weighs them.

    The distance of each group is one for the clip, the weight one for each frame.
    """

    def __init__(self, channels: int, *, frames: int) -> None:
        super().__init__()
        self.channels, self.frames = channels, frames
        self.offset_net = OffsetNet(channels, frames)
        self.weight_net = WeightNet(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> the same shape."""
        clips = to_clips(x[:, : self.channels], self.frames)  # (B, T, C', H, W)
        pooled = clips.mean(dim=(3, 4)).transpose(1, 2)  # (B, C', T)
        offset = self.offset_net(pooled)
        moved = tin_shift(clips, torch.cat([offset, -offset], dim=1))
        weight = self.weight_net(pooled).repeat(1, 1, 2)  # (B, T, 2 G): groups that move back have the same
        weight = weight.repeat_interleave(self.channels // weight.shape[2], dim=2)
        moved = moved * weight[..., None, None]
        return torch.cat([moved.flatten(0, 1), x[:, self.channels :]], dim=1)


class OffsetNet(nn.Module):
    """How many frames each group moves, in -2..2, one at first."""

    def __init__(self, channels: int, frames: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, 1, 3, padding=1)
        self.fc1, self.fc2 = nn.Linear(frames, frames), nn.Linear(frames, _GROUPS)
        nn.init.constant_(self.fc2.bias, 0.5108)  # the logit of 5 / 8: half a frame, if nothing else adds

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, groups), frames."""
        hidden = torch.relu(self.fc1(self.conv(x).squeeze(1)))
        return 4 * (self.fc2(hidden).sigmoid() - 0.5)


class WeightNet(nn.Module):
    """How much each group of each frame counts, in 0..2, about one at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, _GROUPS, 3, padding=1)
        nn.init.zeros_(self.conv.get_parameter("bias"))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T) -> (B, T, groups)."""
        return 2 * self.conv(x).transpose(1, 2).sigmoid()
