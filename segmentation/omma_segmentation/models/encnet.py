"""EncNet (Zhang et al., Context Encoding for Semantic Segmentation, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind, SyncBatchNorm
from omma.losses import BinaryCrossEntropyLoss
from omma.ops.precision import at_least_float32
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class EncHead(FeatureHead):
    """Channels weighed by an encoding of the whole image, from which its classes are told as well.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: width of what is encoded and classified.
        num_classes: C.
        loss: on the logits.
        presence_loss: on which classes the image shows; null: this isn't learnt.
        codes: code words that pixels are compared with.
        norm: kind of the norms of convolutions.
        dropout: share of channels.
        align_corners: how logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        in_index: int = -1,
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        presence_loss: BinaryCrossEntropyLoss | None,
        codes: int = 32,
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
        self.bottleneck = ConvNormAct(in_channels, channels, 3, padding=1, norm=norm)
        self.enc_module = ContextEncoding(channels, codes=codes, norm=norm)
        self.presence_loss = presence_loss
        if presence_loss is not None:
            self.se_layer = nn.Linear(channels, num_classes)

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        (x,) = self.select(maps)
        return self.enc_module(self.bottleneck(x))[0]

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Logits (N, C, H, W), and those of which classes the image shows, (N, C)."""
        (x,) = self.select(maps)
        features, code = self.enc_module(self.bottleneck(x))
        return self.classify(features), None if self.presence_loss is None else self.se_layer(code)

    def logits(self, outputs: tuple[Tensor, Tensor | None]) -> Tensor:
        """Those of the pixels."""
        return outputs[0]

    def loss(self, outputs: tuple[Tensor, Tensor | None], labels: Tensor) -> dict[str, Tensor]:
        """The losses of the pixels, and ``loss_se`` of the classes that the image shows."""
        logits, presence = outputs
        losses = self.pixel_losses(logits, labels)
        if presence is None or self.presence_loss is None:
            return losses
        counts = presence.new_zeros(len(labels), 256, dtype=torch.float32)
        counts.scatter_(1, labels.flatten(1), 1)
        return losses | {"loss_se": self.presence_loss(presence, counts[:, : self.num_classes])}

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Parameters whose rows belong to classes, by name."""
        if self.presence_loss is None:
            return super().class_rows()
        presence = {f"se_layer.{part}": ClassRows() for part in ("weight", "bias")}
        return {**super().class_rows(), **presence}


class ContextEncoding(nn.Module):
    """A map with its channels weighed by the encoding of all pixels.

    Args:
        channels: C.
        codes: code words.
        norm: kind of the norm of the convolution.
    """

    def __init__(self, channels: int, *, codes: int, norm: NormKind) -> None:
        super().__init__()
        self.encoding_project = ConvNormAct(channels, channels, 1, norm=norm)
        self.encoding = nn.Sequential(Encoding(channels, codes), SyncBatchNorm(codes), nn.ReLU())
        self.fc = nn.Sequential(nn.Linear(channels, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> the weighed map of the same shape, and the encoding (N, C)."""
        code = self.encoding(self.encoding_project(x)).mean(dim=1)
        return (x + x * self.fc(code)[..., None, None]).relu(), code


class Encoding(nn.Module):
    """How the pixels differ from each code word, summed over the pixels that are near it.

    Args:
        channels: C.
        codes: code words, K.
    """

    def __init__(self, channels: int, codes: int) -> None:
        super().__init__()
        reach = (codes * channels) ** -0.5
        self.codewords = nn.Parameter(torch.empty(codes, channels).uniform_(-reach, reach))
        self.scale = nn.Parameter(torch.empty(codes).uniform_(-1, 0))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> residuals (N, K, C)."""
        with torch.autocast(x.device.type, enabled=False):
            pixels = at_least_float32(x).flatten(2).transpose(1, 2)  # (N, P, C)
            # |x - c|^2 by its terms: the differences themselves would be K times the map.
            squares = pixels.square().sum(-1, keepdim=True) + self.codewords.square().sum(-1)
            distances = squares - 2 * F.linear(pixels, self.codewords)  # (N, P, K)
            share = (self.scale * distances).softmax(dim=-1)
            residuals = share.transpose(1, 2) @ pixels - share.sum(1)[..., None] * self.codewords
        return residuals.to(x.dtype)
