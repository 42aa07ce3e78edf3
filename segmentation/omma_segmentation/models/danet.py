"""DANet (Fu et al., Dual Attention Network for Scene Segmentation, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, Scale, init_conv
from omma.ops.precision import at_least_float32
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses
from omma_segmentation.models.heads.map_attention import MapAttention


@register
class DAHead(FeatureHead):
    """Attention between pixels and attention between channels side by side; each learns by itself too.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of both branches.
        inner_channels: of queries and keys between pixels.
        num_classes: C.
        loss: on the logits of the sum and of each branch.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        in_index: int = -1,
        channels: int,
        inner_channels: int = 64,
        num_classes: int,
        loss: PixelLosses,
        norm: NormKind = "sync_bn",
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            channels=channels,
            num_classes=num_classes,
            loss=loss,
            dropout=dropout,
            align_corners=align_corners,
        )
        for branch, attention in (
            ("pam", PositionAttention(channels, inner_channels)),
            ("cam", ChannelAttention()),
        ):
            self.add_module(f"{branch}_in_conv", ConvNormAct(in_channels, channels, 3, padding=1, norm=norm))
            self.add_module(branch, attention)
            self.add_module(f"{branch}_out_conv", ConvNormAct(channels, channels, 3, padding=1, norm=norm))
            classifier = nn.Conv2d(channels, num_classes, 1)
            init_conv(classifier, std=0.01)
            self.add_module(f"{branch}_conv_seg", classifier)

    def branch(self, name: str, x: Tensor) -> Tensor:
        """The features of one branch, ``pam`` between pixels or ``cam`` between channels."""
        for layer in (f"{name}_in_conv", name, f"{name}_out_conv"):
            x = self.get_submodule(layer)(x)
        return x

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        return self.branch("pam", x) + self.branch("cam", x)

    def forward(self, maps: Sequence[Tensor]) -> dict[str, Tensor]:
        """Logits (N, C, H, W) of the sum ``pam_cam`` and of each branch."""
        (x,) = self.select(maps)
        found = {name: self.branch(name, x) for name in ("pam", "cam")}
        logits = {"pam_cam": self.classify(found["pam"] + found["cam"])}
        return logits | {
            name: self.get_submodule(f"{name}_conv_seg")(self.dropout(x)) for name, x in found.items()
        }

    def logits(self, outputs: dict[str, Tensor]) -> Tensor:
        """Those of the sum."""
        return outputs["pam_cam"]

    def loss(self, outputs: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The losses of all three, ``pam_cam.loss_ce`` and so on."""
        return {
            f"{name}.{key}": value
            for name, logits in outputs.items()
            for key, value in self.pixel_losses(logits, labels).items()
        }

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Parameters whose rows belong to classes, by name."""
        classifiers = ("conv_seg", "pam_conv_seg", "cam_conv_seg")
        return {f"{name}.{part}": ClassRows() for name in classifiers for part in ("weight", "bias")}


class PositionAttention(MapAttention):
    """Adds to each pixel what it sees in all others; the identity at first.

    Args:
        channels: C.
        inner: channels of queries and keys.
    """

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__(
            key=nn.Conv2d(channels, inner, 1),
            query=nn.Conv2d(channels, inner, 1),
            value=nn.Conv2d(channels, channels, 1),
            scale=1.0,
        )
        self.gamma = Scale(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.gamma(self.attend(x, x)) + x


class ChannelAttention(nn.Module):
    """Adds to each channel those that are least like it; the identity at first."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = Scale(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        # Products over all pixels are large numbers, and the softmax looks at their differences.
        with torch.autocast(x.device.type, enabled=False):
            channels = at_least_float32(x).flatten(2)  # (N, C, P)
            likeness = channels @ channels.transpose(1, 2)  # (N, C, C)
            seen = (-likeness).softmax(dim=-1) @ channels
        return self.gamma(seen.view(x.shape).to(x.dtype)) + x
