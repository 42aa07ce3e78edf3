"""Segmenter (Strudel et al., Segmenter: Transformer for Semantic Segmentation, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import EncoderBlock, PackedSelfAttention
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_segmentation.models.heads.decode_head import DecodeHead, PixelLosses


@register
class SegmenterMaskTransformerHead(DecodeHead):
    """Patches and classes attend to each other; a mask is how alike a class and each patch are.

    Args:
        in_channels: of the map.
        in_index: which map.
        channels: of the tokens.
        num_classes: C.
        loss: on the logits.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layers, as a multiple of ``channels``.
        drop_path: share of the last block's additions left out in training; it grows along the depth from 0.
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
        depth: int = 2,
        heads: int,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            num_classes=num_classes,
            loss=loss,
            align_corners=align_corners,
        )
        self.layers = nn.ModuleList(
            EncoderBlock(
                channels,
                attention=PackedSelfAttention(channels, heads),
                hidden=int(mlp_ratio * channels),
                eps=1e-5,
                drop_path=drop_path * i / max(depth - 1, 1),
            )
            for i in range(depth)
        )
        self.dec_proj = nn.Linear(in_channels, channels)
        self.cls_emb = nn.Parameter(torch.zeros(1, num_classes, channels))
        self.patch_proj = nn.Linear(channels, channels, bias=False)
        self.classes_proj = nn.Linear(channels, channels, bias=False)
        self.decoder_norm = nn.LayerNorm(channels)
        self.mask_norm = nn.LayerNorm(num_classes)
        nn.init.trunc_normal_(self.cls_emb, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps to logits (N, C, H, W) at the map's size."""
        (x,) = self.select(maps)
        size = x.shape[-2:]
        patches = self.dec_proj(x.flatten(2).transpose(1, 2))
        tokens = torch.cat([patches, self.cls_emb.expand(len(x), -1, -1)], dim=1)
        for block in self.layers:
            tokens = block(tokens)
        patches, classes = self.decoder_norm(tokens).tensor_split([patches.shape[1]], dim=1)
        patches = F.normalize(self.patch_proj(patches), dim=-1)
        classes = F.normalize(self.classes_proj(classes), dim=-1)
        masks = self.mask_norm(patches @ classes.transpose(1, 2))
        return masks.transpose(1, 2).unflatten(2, size)

    def class_rows(self) -> Mapping[str, ClassRows]:
        """The norm over classes; their embeddings don't run over the first axis."""
        return {"mask_norm.weight": ClassRows(), "mask_norm.bias": ClassRows()}
