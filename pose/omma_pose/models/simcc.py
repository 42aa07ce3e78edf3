"""SimCC (Li et al., SimCC: a Simple Coordinate Classification Perspective, ECCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.losses import Loss
from omma.registry import register
from omma_pose.codecs import SimCCLabel
from omma_pose.models.heads.deconv import DeconvNetwork
from omma_pose.models.heads.pose_head import PoseHead


class LineHead(PoseHead):
    """A head whose outputs are a line of bins for x and one for y, and their loss."""

    codec: SimCCLabel
    loss_module: Loss

    def loss(self, outputs: tuple[Tensor, Tensor], keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """``loss_keypoints``: over both lines, summed over objects and the mean over key points.

        Raises:
            ValueError: the network gives other numbers of bins than the codec has.
        """
        targets, weights = self.codec.encode(keypoints, visible)
        total = keypoints.new_zeros(())
        for line, target in zip(outputs, targets, strict=True):
            self.check_outputs(line, target)
            total = total + self.loss_module(line, target, weight=weights, avg_factor=self.num_keypoints)
        return {"loss_keypoints": total}


@register
class SimCCHead(LineHead):
    """One small map for each key point, and linear layers from its pixels to the bins.

    Args:
        num_keypoints: K.
        in_channels: channels of the map that the head takes.
        in_index: which map that is.
        stride: of that map, pixels of the input.
        codec: between key points and bins.
        loss: of bins.
        deconv_channels: of transposed convolutions that double the size each; none: one 1x1 convolution.
        deconv_kernels: their sides, 2, 3 or 4.
    """

    def __init__(
        self,
        *,
        num_keypoints: int,
        in_channels: int,
        in_index: int = -1,
        stride: int = 32,
        codec: SimCCLabel,
        loss: Loss,
        deconv_channels: tuple[int, ...] = (256, 256, 256),
        deconv_kernels: tuple[int, ...] = (4, 4, 4),
    ) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, in_index=in_index, codec=codec)
        self.loss_module = loss
        if deconv_channels:
            self.deconv_head = DeconvNetwork(
                in_channels=in_channels,
                out_channels=num_keypoints,
                deconv_channels=deconv_channels,
                deconv_kernels=deconv_kernels,
            )
        else:
            self.final_layer = nn.Conv2d(in_channels, num_keypoints, 1)
            nn.init.normal_(self.final_layer.weight, std=0.001)
        width, height = codec.input_size
        pixels = (width // stride) * (height // stride) * 4 ** len(deconv_channels)
        self.mlp_head_x = nn.Linear(pixels, codec.bins[0])
        self.mlp_head_y = nn.Linear(pixels, codec.bins[1])
        for layer in (self.mlp_head_x, self.mlp_head_y):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits of the bins of x and y, (N, K, bins) each."""
        x = maps[self.in_index]
        x = self.deconv_head(x) if hasattr(self, "deconv_head") else self.final_layer(x)
        x = x.flatten(2)
        return self.mlp_head_x(x), self.mlp_head_y(x)
