"""DDRNet (Hong et al., Deep Dual-resolution Networks for Semantic Segmentation of Road Scenes, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind, init_conv, make_norm, resize
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_segmentation.losses import PixelLoss
from omma_segmentation.models.dual_resolution import NormActConv, SerialPyramid, residuals, stem
from omma_segmentation.models.heads.decode_head import FeatureHead


@register
class DDRNet(Backbone):
    """A branch that stays at stride 8 and one that goes on to 64, which exchange what they see twice.

    It returns what the fine branch knows after its first fusion, for a loss, and the sum of both.

    Args:
        channels: of the stem.
        pyramid_channels: of each scale of the context pyramid.
        norm: kind of the norms.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: int = 32,
        pyramid_channels: int = 128,
        norm: NormKind = "sync_bn",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        c = channels
        self.out_channels, self.strides = (2 * c, 4 * c), (8, 8)
        self.stem = stem(c, 2, numbered=True, norm=norm)
        self.context_branch_layers = nn.ModuleList(
            [
                residuals(2 * c, 4 * c, 2, stride=2, numbered=True, norm=norm),
                residuals(4 * c, 8 * c, 2, stride=2, numbered=True, norm=norm),
                residuals(8 * c, 8 * c, 1, stride=2, narrow=True, numbered=True, norm=norm),
            ]
        )
        self.compression_1 = ConvNormAct(4 * c, 2 * c, 1, norm=norm, act=None)
        self.down_1 = ConvNormAct(2 * c, 4 * c, 3, stride=2, padding=1, norm=norm, act=None)
        self.compression_2 = ConvNormAct(8 * c, 2 * c, 1, norm=norm, act=None)
        self.down_2 = nn.Sequential(
            ConvNormAct(2 * c, 4 * c, 3, stride=2, padding=1, norm=norm),
            ConvNormAct(4 * c, 8 * c, 3, stride=2, padding=1, norm=norm, act=None),
        )
        self.spatial_branch_layers = nn.ModuleList(
            [
                residuals(2 * c, 2 * c, 2, numbered=True, norm=norm),
                residuals(2 * c, 2 * c, 2, numbered=True, norm=norm),
                residuals(2 * c, 2 * c, 1, narrow=True, numbered=True, norm=norm),
            ]
        )
        self.spp = SerialPyramid(16 * c, pyramid_channels, 4 * c, norm=norm)
        init_conv(self, kind="kaiming")
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> the fine branch's early map and the sum, (N, out_channels[i], H / 8, W / 8)."""
        x = self.stem(x)
        coarse, fine = self.context_branch_layers[0](x), self.spatial_branch_layers[0](x)
        up, down = self.compression_1(coarse.relu()), self.down_1(fine.relu())
        coarse, fine = coarse + down, fine + resize(up, x)
        early = fine

        coarse = self.context_branch_layers[1](coarse.relu())
        fine = self.spatial_branch_layers[1](fine.relu())
        up, down = self.compression_2(coarse.relu()), self.down_2(fine.relu())
        coarse, fine = coarse + down, fine + resize(up, x)

        fine = self.spatial_branch_layers[2](fine.relu())
        coarse = self.spp(self.context_branch_layers[2](coarse.relu()))
        return early, fine + resize(coarse, x)


@register
class DDRHead(FeatureHead):
    """Classes from the last map; in training also from the fine branch's early one.

    Its raw output are the two maps: only losses need the logits of both.

    Args:
        in_channels: of the early and of the last map.
        in_index: which maps these are.
        channels: width of what is classified.
        num_classes: C.
        loss: on the logits of the last map.
        early_loss: on those of the early one.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, int],
        in_index: tuple[int, int] = (0, 1),
        channels: int,
        num_classes: int,
        loss: PixelLoss,
        early_loss: PixelLoss,
        norm: NormKind = "sync_bn",
        dropout: float = 0.0,
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
        early, last = in_channels
        self.early_loss = early_loss
        self.head, self.aux_head = (_features(c, channels, norm) for c in (last, early))
        self.aux_cls_seg = nn.Conv2d(channels, num_classes, 1)
        init_conv(self, kind="kaiming")

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """What is classified in prediction, (N, channels, H, W)."""
        return self.head(self.select(maps)[1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The early and the last map."""
        return self.select(maps)

    def logits(self, outputs: Sequence[Tensor]) -> Tensor:
        """Of the last map, (N, C, H, W)."""
        return self.classify(self.head(outputs[1]))

    def loss(self, outputs: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The losses of both maps."""
        raw = self.logits(outputs), self.aux_cls_seg(self.aux_head(outputs[0]))
        last, early = (resize(x, labels, align_corners=self.align_corners) for x in raw)
        (loss,) = self.losses
        return {"loss_context": loss(last, labels), "loss_spatial": self.early_loss(early, labels)}

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Parameters whose rows belong to classes, by name."""
        rows = {f"aux_cls_seg.{kind}": ClassRows() for kind in ("weight", "bias")}
        return {**super().class_rows(), **rows}


def _features(in_channels: int, channels: int, norm: NormKind) -> nn.Sequential:
    """Norm, ReLU, convolution, norm and ReLU: what a classifier gets of a map."""
    conv = NormActConv(in_channels, channels, 3, norm=norm)
    return nn.Sequential(conv, make_norm(norm, channels), nn.ReLU())
