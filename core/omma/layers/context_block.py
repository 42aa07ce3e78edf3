"""Global context (Cao et al., GCNet, 2019)."""

from __future__ import annotations

from torch import Tensor, nn


class ContextBlock(nn.Module):
    """Adds to every position one vector, made from the attention-weighted mean over all positions.

    Parameter names are OpenMMLab's. It starts as the identity.

    Args:
        channels: C.
        reduction: the vector passes through C / reduction channels.
    """

    added_names = ("conv_mask", "channel_add_conv")
    """What the weights of a network without it lack."""

    def __init__(self, channels: int, *, reduction: int) -> None:
        super().__init__()
        if channels % reduction:
            raise ValueError(f"{channels} channels can't be reduced by {reduction}")
        width = channels // reduction
        self.conv_mask = nn.Conv2d(channels, 1, 1)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.LayerNorm([width, 1, 1]),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels, 1),
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He et al.'s weights; zeros in the last convolution."""
        for layer in (self.conv_mask, self.channel_add_conv[0]):
            nn.init.kaiming_normal_(layer.get_parameter("weight"), mode="fan_in", nonlinearity="relu")
            nn.init.zeros_(layer.get_parameter("bias"))
        for value in self.channel_add_conv[3].parameters():
            nn.init.zeros_(value)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        share = self.conv_mask(x).flatten(2).softmax(-1)  # (N, 1, HW)
        context = (x.flatten(2) @ share.transpose(1, 2))[..., None]  # (N, C, 1, 1)
        return x + self.channel_add_conv(context)
