"""Masks that small networks draw, whose weights each instance brings (Tian et al., CondInst, 2020)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind, init_conv
from omma.losses import Loss
from omma.ops import dynamic_conv2d
from omma.structures import Batch, Meta, Prediction, Sample
from omma_detection.models.heads.dense import conv_tower
from omma_detection.models.heads.detections import Candidates
from omma_detection.models.heads.point_towers import PointOutputs
from omma_detection.models.heads.region import bitmaps
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.priors import PointGenerator

_REACH = 8
"""Strides that a distance from an instance's point is divided by."""
MASK_STRIDE = 4
"""Input pixels per pixel of masks that are learnt."""


class MaskNetwork:
    """1x1 convolutions over features of the whole image and over how far each pixel lies from a point.

    Args:
        features: M, channels of the features.
        channels: width of the convolutions.
        layers: their number.
    """

    def __init__(self, *, features: int, channels: int, layers: int) -> None:
        widths = (features + 2, *(channels,) * (layers - 1), 1)
        self.shapes = tuple(zip(widths[1:], widths[:-1]))
        """(out, in) of each layer."""
        self.num_weights = sum(out * (before + 1) for out, before in self.shapes)
        """D, weights and biases that an instance brings."""

    def __call__(
        self, features: Tensor, kernels: Tensor, points: Tensor, strides: Tensor, grid: Tensor
    ) -> Tensor:
        """Mask logits (R, 1, H, W) of R instances.

        Args:
            features: (R, M, H, W), or (1, M, H, W) if all are of one image.
            kernels: (R, D), the weights of all layers and then their biases.
            points: (R, 2) xy of the instances, pixels.
            strides: (R,) of the levels that they were found on.
            grid: (H * W, 2) xy of the features' positions, pixels.
        """
        away = (points[:, None] - grid) / (strides[:, None, None] * _REACH)  # (R, H * W, 2)
        away = away.transpose(1, 2).unflatten(2, features.shape[-2:])
        kernels, features = kernels.float(), features.float()
        x = torch.cat([away, features.expand(len(points), -1, -1, -1)], dim=1)
        lengths = [out * before for out, before in self.shapes] + [out for out, _ in self.shapes]
        parts = kernels.split(lengths, dim=1)
        last = len(self.shapes) - 1
        for i, (out, before) in enumerate(self.shapes):
            weight = parts[i].unflatten(1, (out, before, 1, 1))
            x = dynamic_conv2d(x, weight, parts[len(self.shapes) + i])
            x = x.relu() if i < last else x
        return x


class MaskOutputs(NamedTuple):
    """Raw maps of a detector that draws masks."""

    points: PointOutputs
    """Of the box head."""
    features: Tensor
    """(N, M, H_0, W_0)"""


class Priors(NamedTuple):
    """The points of all levels."""

    points: Tensor
    """(P, 2) xy, pixels."""
    strides: Tensor
    """(P,) pixels."""


class MaskFeatures(nn.Module):
    """The finest levels, each through a convolution, their sum at the size of the finest, convolutions.

    Args:
        in_channels: channels of every level.
        channels: width.
        out_channels: M.
        levels: number of levels.
        num_convs: convolutions after the sum.
        norm: kind of norm.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        out_channels: int,
        *,
        levels: int,
        num_convs: int,
        norm: NormKind,
    ) -> None:
        super().__init__()
        self.convs_all_levels = nn.ModuleList(
            nn.ModuleDict({f"conv{i}": ConvNormAct(in_channels, channels, 3, padding=1, norm=norm)})
            for i in range(levels)
        )
        self.conv_branch = conv_tower(channels, channels, num_convs, norm=norm)
        self.conv_pred = nn.Conv2d(channels, out_channels, 1)
        init_conv(self, kind="kaiming")

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Levels (N, C, H_i, W_i), each twice as large as the next -> (N, M, H_0, W_0)."""
        joined = []
        for level, (m, convs) in enumerate(zip(maps, self.convs_all_levels)):
            for conv in convs.children():
                m = conv(m)
            joined.append(enlarge_aligned(m, 2**level))
        return self.conv_pred(self.conv_branch(torch.stack(joined).sum(dim=0)))


class DynamicMaskHead(nn.Module, ABC):
    """Mask features, the network that draws masks on them, and what it learns from.

    Args:
        in_channels: channels of every level.
        channels: width of the layers that make the features.
        num_convs: convolutions after the levels are joined.
        levels: finest levels that are joined.
        stride: input pixels per position of the finest level.
        features: M.
        mask_channels: width of the network that draws masks.
        mask_layers: number of its layers.
        mask_loss: on mask logits.
        norm: kind of norm of the features' layers.
        threshold: probability above which a pixel is in the mask.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int,
        levels: int,
        stride: int,
        features: int,
        mask_channels: int,
        mask_layers: int,
        mask_loss: Loss,
        norm: NormKind,
        threshold: float,
    ) -> None:
        super().__init__()
        if stride % MASK_STRIDE:
            raise ValueError(f"stride must be a multiple of {MASK_STRIDE}, got {stride}")
        self.in_channels, self.stride, self.levels = in_channels, stride, levels
        self.mask_loss, self.threshold = mask_loss, threshold
        self.network = MaskNetwork(features=features, channels=mask_channels, layers=mask_layers)
        self.places = PointGenerator(strides=(stride,))
        self.mask_feature_head = MaskFeatures(
            in_channels, channels, features, levels=levels, num_convs=num_convs, norm=norm
        )

    @abstractmethod
    def centres(self, batch: Batch) -> list[Tensor]:
        """(G, 2) xy of each image's objects: points around them learn, if the box head samples centres."""

    @abstractmethod
    def loss(self, outputs: MaskOutputs, priors: Priors, owners: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Losses of the masks of priors whose objects are ``owners`` (N, P), -1 for none."""

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Levels (N, C, H_i, W_i) -> features (N, M, H_0, W_0)."""
        return self.mask_feature_head(maps)

    def logits(self, outputs: MaskOutputs, priors: Priors, image: Tensor, prior: Tensor) -> Tensor:
        """Mask logits (R, H, W) at ``MASK_STRIDE`` of priors (R,) of the images (R,) of a batch."""
        kernels = flatten_levels(outputs.points.kernels, self.network.num_weights)[image, prior]
        return self._drawn(outputs.features[image], kernels, Priors(*(each[prior] for each in priors)))

    def predict(
        self, outputs: MaskOutputs, priors: Priors, found: Sequence[Candidates], batch: Batch
    ) -> list[Prediction]:
        """Boxes in original pixels with their masks."""
        kernels = flatten_levels(outputs.points.kernels, self.network.num_weights)
        predictions = []
        for i, (own, size, meta) in enumerate(zip(found, batch.sizes, batch.metas)):
            places = own.places
            assert places is not None
            where = Priors(*(each[places] for each in priors))
            shares = self._drawn(outputs.features[i : i + 1], kernels[i, places], where).sigmoid()
            masks = whole_masks(shares, size, meta) > self.threshold
            predictions.append(Prediction(boxes=own.boxes, scores=own.scores, labels=own.labels, masks=masks))
        return predictions

    def _drawn(self, features: Tensor, kernels: Tensor, where: Priors) -> Tensor:
        grid = self.places.grid([(features.shape[-2], features.shape[-1])], features.device)[0]
        logits = self.network(features, kernels, where.points, where.strides, grid)
        return enlarge_aligned(logits, self.stride // MASK_STRIDE)[:, 0]


def whole_masks(shares: Tensor, size: tuple[int, int], meta: Meta) -> Tensor:
    """Probabilities (R, H, W) in original pixels of those (R, h, w) at ``MASK_STRIDE``.

    ``size`` is the height and width of the image as transformed, before padding.
    """
    if not len(shares):
        return shares.new_zeros(0, meta.height, meta.width)
    large = enlarge_aligned(shares[:, None], MASK_STRIDE)[..., : size[0], : size[1]]
    original = (meta.height, meta.width)
    return F.interpolate(large, size=original, mode="bilinear", align_corners=False)[:, 0]


def thin_masks(sample: Sample, size: tuple[int, int]) -> Tensor:
    """A sample's masks at ``MASK_STRIDE``, the pixel in the middle of each cell: (G, *size) uint8.

    Raises:
        DataError: it has no bitmaps.
    """
    start = MASK_STRIDE // 2
    thin = bitmaps(sample)[:, start::MASK_STRIDE, start::MASK_STRIDE]
    return F.pad(thin, (0, size[1] - thin.shape[2], 0, size[0] - thin.shape[1]))


def enlarge_aligned(maps: Tensor, factor: int) -> Tensor:
    """Maps (N, C, H, W) times ``factor``, bilinear: row i of the result lies at (i - factor // 2) / factor.

    Outside of the maps their border goes on.
    """
    if factor == 1 or not len(maps):
        # No maps can't be interpolated, but they stay in the graph.
        return maps.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    size = ((height + 1) * factor + 1, (width + 1) * factor + 1)
    large = F.interpolate(padded, size=size, mode="bilinear", align_corners=True)
    start = factor - factor // 2
    return large[..., start : start + height * factor, start : start + width * factor]
