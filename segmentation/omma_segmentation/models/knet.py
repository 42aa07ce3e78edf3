"""K-Net (Zhang et al., K-Net: Towards Unified Image Segmentation, 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import ConvNormAct, FeedForward, resize
from omma.registry import register
from omma_segmentation.models.heads.decode_head import DecodeHead, FeatureHead


@register
class IterativeDecodeHead(DecodeHead):
    """The kernels of a head's classifier, adapted to each image in several stages.

    Args:
        kernel_generate_head: gives the features, the first logits and the first kernels, those of its
            classifier; its losses are taken of every stage.
        kernel_update_head: the stages.

    Raises:
        ValueError: a stage has other ``channels`` than the first head.
    """

    def __init__(
        self, *, kernel_generate_head: FeatureHead, kernel_update_head: tuple[KernelUpdateHead, ...]
    ) -> None:
        first = kernel_generate_head
        super().__init__(
            in_channels=first.in_channels,
            in_index=first.in_index,
            num_classes=first.num_classes,
            loss=(),
            align_corners=first.align_corners,
        )
        for stage in kernel_update_head:
            if stage.channels != first.channels:
                raise ValueError(
                    f"kernel_update_head has {stage.channels} channels, kernel_generate_head {first.channels}"
                )
        self.kernel_generate_head = first
        self.kernel_update_head = nn.ModuleList(kernel_update_head)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Logits (N, C, H, W) of the first head and of each stage."""
        features = self.kernel_generate_head.features(maps)
        logits = [self.kernel_generate_head.classify(features)]
        weight = self.kernel_generate_head.conv_seg.weight.flatten(1)
        kernels = weight.repeat(len(features), 1, 1)  # (N, C, channels)
        for stage in self.kernel_update_head:
            masks, kernels = stage(features, kernels, logits[-1])
            logits.append(masks)
        return logits

    def logits(self, outputs: list[Tensor]) -> Tensor:
        """Those of the last stage."""
        return outputs[-1]

    def loss(self, outputs: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
        """The losses of each stage, ``s0.loss_ce`` for the first head's."""
        return {
            f"s{i}.{key}": value
            for i, logits in enumerate(outputs)
            for key, value in self.kernel_generate_head.pixel_losses(logits, labels).items()
        }


@register
class KernelUpdateHead(nn.Module):
    """One stage: kernels take in the features of their own class, then look at each other.

    Args:
        channels: of features and kernels, C.
        update_channels: kernels are updated in groups of so many channels.
        heads: of the attention among kernels.
        hidden: between the layers behind it.

    Raises:
        ValueError: ``update_channels`` doesn't divide ``channels``.
    """

    def __init__(
        self, *, channels: int = 512, update_channels: int = 256, heads: int = 8, hidden: int = 2048
    ) -> None:
        super().__init__()
        if channels % update_channels:
            raise ValueError(f"{channels} channels can't be split into groups of {update_channels}")
        self.channels = channels
        self.attention = KernelAttention(channels, heads)
        self.attention_norm = nn.LayerNorm(channels)
        self.kernel_update_conv = KernelUpdate(update_channels)
        self.feat_transform = ConvNormAct(channels, channels, 1, act=None)
        self.ffn = FeedForward(channels, hidden)
        self.ffn_norm = nn.LayerNorm(channels)
        self.mask_fcs = nn.Sequential(
            nn.Linear(channels, channels, bias=False), nn.LayerNorm(channels), nn.ReLU()
        )
        self.fc_mask = nn.Linear(channels, channels)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, features: Tensor, kernels: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """One stage.

        Args:
            features: (N, C, H, W).
            kernels: (N, K, C), one for each class.
            logits: (N, K, H', W') of the stage before.

        Returns:
            logits (N, K, H, W) and the new kernels.
        """
        pixels = self.feat_transform(features)
        share = resize(logits, pixels).softmax(dim=1)
        pixels = pixels.flatten(2)  # (N, C, P)
        groups = share.flatten(2) @ pixels.transpose(1, 2)  # (N, K, C)
        kernels = self.kernel_update_conv(groups, kernels)
        kernels = self.attention_norm(self.attention(kernels))
        kernels = self.ffn_norm(kernels + self.ffn(kernels))
        masks = self.fc_mask(self.mask_fcs(kernels)) @ pixels
        return masks.unflatten(2, features.shape[-2:]), kernels


class KernelAttention(nn.Module):
    """Attention of each kernel to all, added to it.

    Args:
        channels: of the kernels.
        heads: of the attention.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, kernels: Tensor) -> Tensor:
        """(N, K, C) -> the same shape."""
        return kernels + self.attn(kernels, kernels, kernels, need_weights=False)[0]


class KernelUpdate(nn.Module):
    """Kernels and the features of their classes, mixed by two gates.

    Args:
        channels: of the groups that kernels are split into, G.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.dynamic_layer = nn.Linear(channels, 2 * channels)
        self.input_layer = nn.Linear(channels, 2 * channels)
        self.input_gate = nn.Linear(channels, channels)
        self.update_gate = nn.Linear(channels, channels)
        self.norm_in = nn.LayerNorm(channels)
        self.norm_out = nn.LayerNorm(channels)
        self.input_norm_in = nn.LayerNorm(channels)
        self.input_norm_out = nn.LayerNorm(channels)
        self.fc_layer = nn.Linear(channels, channels)
        self.fc_norm = nn.LayerNorm(channels)

    def forward(self, groups: Tensor, kernels: Tensor) -> Tensor:
        """Features (N, K, C) and kernels (N, K, C) to new kernels (N, K, C), C a multiple of G."""
        split = (-1, self.channels)
        of_features = self.dynamic_layer(groups.unflatten(-1, split))  # (N, K, C / G, 2 G)
        of_kernels = self.input_layer(kernels.unflatten(-1, split))
        features_in, features_out = of_features.chunk(2, dim=-1)
        kernels_in, kernels_out = of_kernels.chunk(2, dim=-1)
        both = features_in * kernels_in
        keep = self.input_norm_in(self.input_gate(both)).sigmoid()
        take = self.norm_in(self.update_gate(both)).sigmoid()
        mixed = take * self.norm_out(features_out) + keep * self.input_norm_out(kernels_out)
        return self.fc_norm(self.fc_layer(mixed)).relu().flatten(2)
