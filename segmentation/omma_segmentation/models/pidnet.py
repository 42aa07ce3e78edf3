"""PIDNet (Xu et al., PIDNet: A Real-time Semantic Segmentation Network Inspired by PID Controllers, 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind, init_conv, make_norm, resize
from omma.registry import register
from omma.structures import IGNORED
from omma.structures.class_rows import ClassRows
from omma_segmentation.losses import BoundaryCrossEntropy, PixelLoss, label_boundaries
from omma_segmentation.models.dual_resolution import (
    NormActConv,
    ParallelPyramid,
    Residual,
    SerialPyramid,
    residuals,
    stem,
)
from omma_segmentation.models.heads.decode_head import FeatureHead


@register
class PIDNet(Backbone):
    """Branches for detail (P), context (I) and boundaries (D), fused at stride 8.

    It returns what the detail branch knows after its first fusion, the fused map, and what the boundary
    branch knows after its second: the first and the last are for losses.

    Args:
        channels: of the stem.
        pyramid_channels: of each scale of the context pyramid.
        stem_blocks: residual blocks of each stage of the stem and of the detail branch.
        branch_blocks: residual blocks of the first two stages of the context branch.
        light: the small network's boundary branch, pyramid and fusion.
        norm: kind of the norms.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: int = 32,
        pyramid_channels: int = 96,
        stem_blocks: int = 2,
        branch_blocks: int = 3,
        light: bool = True,
        norm: NormKind = "sync_bn",
        weights: str | None = None,
    ) -> None:
        super().__init__()
        c = channels
        self.out_channels, self.strides = (2 * c, 4 * c, 2 * c), (8, 8, 8)
        self.stem = stem(c, stem_blocks, norm=norm)
        self.i_branch_layers = nn.ModuleList(
            [
                residuals(2 * c, 4 * c, branch_blocks, stride=2, norm=norm),
                residuals(4 * c, 8 * c, branch_blocks, stride=2, norm=norm),
                residuals(8 * c, 8 * c, 2, stride=2, narrow=True, norm=norm),
            ]
        )
        self.p_branch_layers = nn.ModuleList(
            [
                residuals(2 * c, 2 * c, stem_blocks, norm=norm),
                residuals(2 * c, 2 * c, stem_blocks, norm=norm),
                residuals(2 * c, 2 * c, 1, narrow=True, norm=norm),
            ]
        )
        self.compression_1 = ConvNormAct(4 * c, 2 * c, 1, norm=norm, act=None)
        self.compression_2 = ConvNormAct(8 * c, 2 * c, 1, norm=norm, act=None)
        self.pag_1 = PixelAttention(2 * c, c, norm=norm)
        self.pag_2 = PixelAttention(2 * c, c, norm=norm)
        middle = c if light else 2 * c
        self.d_branch_layers = nn.ModuleList(
            [
                Residual(2 * c, middle, norm=norm),
                residuals(c, c, 1, narrow=True, norm=norm) if light else Residual(2 * c, 2 * c, norm=norm),
                residuals(2 * c, 2 * c, 1, narrow=True, norm=norm),
            ]
        )
        self.diff_1 = ConvNormAct(4 * c, middle, 3, padding=1, norm=norm, act=None)
        self.diff_2 = ConvNormAct(8 * c, 2 * c, 3, padding=1, norm=norm, act=None)
        pyramid = ParallelPyramid if light else SerialPyramid
        self.spp = pyramid(16 * c, pyramid_channels, 4 * c, norm=norm)
        self.dfm = (LightBoundaryFusion if light else BoundaryFusion)(4 * c, norm=norm)
        init_conv(self, kind="kaiming")
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> maps of detail, of all, and of boundaries, (N, out_channels[i], H / 8, W / 8)."""
        x = self.stem(x)
        context = self.i_branch_layers[0](x).relu()
        detail = self.pag_1(self.p_branch_layers[0](x), self.compression_1(context))
        edges = self.d_branch_layers[0](x) + resize(self.diff_1(context), x)
        early_detail = detail

        context = self.i_branch_layers[1](context).relu()
        detail = self.pag_2(self.p_branch_layers[1](detail.relu()), self.compression_2(context))
        edges = self.d_branch_layers[1](edges.relu()) + resize(self.diff_2(context), x)
        early_edges = edges

        context = resize(self.spp(self.i_branch_layers[2](context)), x)
        detail = self.p_branch_layers[2](detail.relu())
        edges = self.d_branch_layers[2](edges.relu())
        return early_detail, self.dfm(detail, context, edges), early_edges


class PixelAttention(nn.Module):
    """Takes detail or context at each pixel, by how alike their embeddings are.

    Args:
        in_channels: C of both.
        channels: of the embeddings.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.f_i = ConvNormAct(in_channels, channels, 1, norm=norm, act=None)
        self.f_p = ConvNormAct(in_channels, channels, 1, norm=norm, act=None)

    def forward(self, detail: Tensor, context: Tensor) -> Tensor:
        """(N, C, H, W) and a coarser map (N, C, h, w) -> (N, C, H, W)."""
        alike = self.f_p(detail) * resize(self.f_i(context), detail)
        share = alike.sum(dim=1, keepdim=True).sigmoid()
        return share * resize(context, detail) + (1 - share) * detail


class BoundaryFusion(nn.Module):
    """Detail where a boundary is, context elsewhere, convolved.

    Args:
        channels: C of all maps.
        norm: kind of the norm.
    """

    def __init__(self, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv = NormActConv(channels, channels, 3, norm=norm)

    def forward(self, detail: Tensor, context: Tensor, edges: Tensor) -> Tensor:
        """Three maps (N, C, H, W) -> one."""
        share = edges.sigmoid()
        return self.conv(share * detail + (1 - share) * context)


class LightBoundaryFusion(nn.Module):
    """The sum of detail and context, each with the other where it is the stronger.

    Args:
        channels: C of all maps.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.f_p = ConvNormAct(channels, channels, 1, norm=norm, act=None)
        self.f_i = ConvNormAct(channels, channels, 1, norm=norm, act=None)

    def forward(self, detail: Tensor, context: Tensor, edges: Tensor) -> Tensor:
        """Three maps (N, C, H, W) -> one."""
        share = edges.sigmoid()
        return self.f_p((1 - share) * context + detail) + self.f_i(context + share * detail)


class BranchHead(nn.Module):
    """Norm, ReLU, convolution, norm and ReLU: the features of a branch for its classifier.

    Args:
        in_channels: C.
        channels: C'.
        norm: kind of the norms.
    """

    def __init__(self, in_channels: int, channels: int, *, norm: NormKind) -> None:
        super().__init__()
        self.conv = NormActConv(in_channels, channels, 3, norm=norm)
        self.norm = make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W)."""
        return self.norm(self.conv(x)).relu()


@register
class PIDHead(FeatureHead):
    """Classes from the fused map; in training also from detail alone, and where the boundaries are.

    Its raw output are the three maps: only losses need the logits of all of them.

    Args:
        in_channels: of the maps of detail, of all, and of boundaries.
        in_index: which maps these are.
        channels: width of what is classified.
        num_classes: C.
        loss: on the logits of the fused map.
        detail_loss: on the logits of the detail branch.
        boundary_loss: on the logits of the boundary branch.
        aware_loss: on the logits of the fused map where the boundary branch sees a boundary.
        boundary_width: of the boundaries in the labels, pixels.
        boundary_score: from which probability on a pixel counts for ``aware_loss``.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, int, int],
        in_index: tuple[int, int, int] = (0, 1, 2),
        channels: int,
        num_classes: int,
        loss: PixelLoss,
        detail_loss: PixelLoss,
        boundary_loss: BoundaryCrossEntropy,
        aware_loss: PixelLoss,
        boundary_width: int = 4,
        boundary_score: float = 0.8,
        norm: NormKind = "sync_bn",
        dropout: float = 0.1,
        align_corners: bool = True,
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
        detail, fused, edges = in_channels
        self.detail_loss, self.boundary_loss, self.aware_loss = detail_loss, boundary_loss, aware_loss
        self.boundary_width, self.boundary_score = boundary_width, boundary_score
        self.i_head = BranchHead(fused, channels, norm=norm)
        self.p_head = BranchHead(detail, channels, norm=norm)
        self.d_head = BranchHead(edges, fused // 4, norm=norm)
        self.p_cls_seg = nn.Conv2d(channels, num_classes, 1)
        self.d_cls_seg = nn.Conv2d(fused // 4, 1, 1)
        init_conv(self, kind="kaiming")

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """What is classified in prediction, (N, channels, H, W)."""
        return self.i_head(self.select(maps)[1])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The maps of detail, of all, and of boundaries."""
        return self.select(maps)

    def logits(self, outputs: Sequence[Tensor]) -> Tensor:
        """Of the fused map, (N, C, H, W)."""
        return self.classify(self.i_head(outputs[1]))

    def loss(self, outputs: Sequence[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """Four losses; boundaries are drawn from the labels (N, H, W)."""
        raw = (
            self.p_cls_seg(self.p_head(outputs[0])),
            self.logits(outputs),
            self.d_cls_seg(self.d_head(outputs[2])),
        )
        detail, fused, edges = (resize(x, labels, align_corners=self.align_corners) for x in raw)
        (loss,) = self.losses
        at_boundary = labels.where(edges[:, 0].detach().sigmoid() > self.boundary_score, IGNORED)
        return {
            "loss_sem_p": self.detail_loss(detail, labels),
            "loss_sem_i": loss(fused, labels),
            "loss_bd": self.boundary_loss(edges, label_boundaries(labels, self.boundary_width)),
            "loss_sem_bd": self.aware_loss(fused, at_boundary),
        }

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Parameters whose rows belong to classes, by name."""
        rows = {f"p_cls_seg.{kind}": ClassRows() for kind in ("weight", "bias")}
        return {**super().class_rows(), **rows}
