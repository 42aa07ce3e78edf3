"""Temporal adaptive module (Liu et al., TAM, 2020): each clip makes its own kernels over time."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.backbones.residual import BrickBottleneck
from omma.registry import register
from omma_action.models.frame_mixing import Around, FrameMixing, brick_stages


@register
class TemporalAdaptive(FrameMixing):
    """Puts an adaptive convolution over time behind the first convolution of each bottleneck of a ResNet.

    Args:
        frames: of a clip.
        widen: channels of the branch that makes kernels, for each frame.
        kernel: frames that a kernel sees.
        reduction: of the channels in the branch that weighs frames.

    Raises:
        ValueError: a number is below 1, or ``kernel`` is even.
    """

    def __init__(self, *, frames: int, widen: int = 2, kernel: int = 3, reduction: int = 4) -> None:
        super().__init__(frames=frames)
        if min(widen, kernel, reduction) < 1 or kernel % 2 == 0:
            raise ValueError(
                f"widen, kernel and reduction must be at least 1 and kernel odd, got {widen}, {kernel} and "
                f"{reduction}"
            )
        self.widen, self.kernel, self.reduction = widen, kernel, reduction

    def put_into(self, backbone: Backbone) -> None:
        """See ``FrameMixing``."""
        for stage in brick_stages(backbone):
            for i, block in enumerate(stage):
                if not isinstance(block, BrickBottleneck):
                    raise ValueError("adaptive convolutions need bottlenecks: depth 50, 101 or 152")
                stage[i] = AdaptiveBlock(block, self)


class AdaptiveBlock(Around):
    """A bottleneck with an adaptive convolution behind its first one."""

    inside = "block"
    added_names = ("tam",)

    def __init__(self, block: BrickBottleneck, form: TemporalAdaptive) -> None:
        super().__init__()
        self.block = block
        self.tam = AdaptiveConv(block.inner_width, form)

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> (B * T, C', H', W')."""
        block = self.block
        return block.join(x, block.conv3(block.conv2(self.tam(block.conv1(x)))))


class AdaptiveConv(nn.Module):
    """Weighs each channel of each frame (``L``), then convolves each channel over time by a kernel that its
    own course over the clip has made (``G``).

    Args:
        channels: C.
        form: the rest of its size.
    """

    def __init__(self, channels: int, form: TemporalAdaptive) -> None:
        super().__init__()
        self.frames = form.frames
        hidden = form.frames * form.widen
        self.G = nn.Sequential(
            nn.Linear(form.frames, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, form.kernel, bias=False),
            nn.Softmax(-1),
        )
        narrow = channels // form.reduction
        self.L = nn.Sequential(
            nn.Conv1d(channels, narrow, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv1d(narrow, channels, 1, bias=False),
            nn.Sigmoid(),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> the same shape."""
        clips = x.unflatten(0, (-1, self.frames)).transpose(1, 2)  # (B, C, T, H, W)
        course = clips.mean(dim=(3, 4))  # (B, C, T)
        kernels = self.G(course.flatten(0, 1))  # (B * C, kernel)
        weighed = (clips * self.L(course)[..., None, None]).flatten(3).flatten(0, 1)  # (B * C, T, H * W)
        out = F.conv2d(
            weighed[None], kernels[:, None, :, None], padding=(kernels.shape[1] // 2, 0), groups=len(kernels)
        )
        return out.view(clips.shape).transpose(1, 2).flatten(0, 1)
