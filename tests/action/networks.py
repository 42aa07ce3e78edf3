"""Small recognisers of every kind."""

from __future__ import annotations

from collections.abc import Callable

import torch

from omma.backbones import MobileNetV2, ResNet
from omma.structures import Batch, Meta
from omma_action.models.c2d import C2D
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.heads.pooled import I3DHead
from omma_action.models.mvit import MViT
from omma_action.models.non_local3d import NonLocalForm
from omma_action.models.preprocessor import ClipPreprocessor
from omma_action.models.recognizer import Recognizer
from omma_action.models.resnet3d import Lateral, ResNet3d
from omma_action.models.slowfast import SlowFast, SlowFastHead
from omma_action.models.tanet import TemporalAdaptive
from omma_action.models.timesformer import TimeSformer
from omma_action.models.tin import TemporalInterlace
from omma_action.models.tpn import TPN
from omma_action.models.trn import TRNHead
from omma_action.models.tsm import NonLocalFrames, TemporalShift, TSMHead
from omma_action.models.tsn import TSNHead
from omma_action.models.uniformer import UniFormer
from omma_action.models.uniformer_v2 import UniFormerV2
from omma_action.models.video_swin import SwinTransformer3d
from omma_action.models.video_vit import VideoTransformer
from omma_action.models.x3d import X3D, X3DHead

CLASSES, FRAMES, SIZE = 5, 4, 32
PLAIN = {"pool2": False, "conv1_stride": (1, 2), "pool1_stride": (1, 2)}
ONES = {"stage_blocks": (1, 1, 1, 1), "base_channels": 8}
CUBE = {"frames": FRAMES, "image_size": SIZE}
HEADS = (1, 2, 2, 4)
TOKENS = {"frames": FRAMES, "image_size": (SIZE, SIZE), "channels": 32, "depth": 2, "heads": 2}


def images(depth: int = 18) -> ResNet:
    return ResNet(depth=depth, bricks=True, norm_eval=False, out_indices=(3,))


def recognizer(backbone, head, **parts) -> Recognizer:
    return Recognizer(backbone=backbone, cls_head=head, preprocessor=ClipPreprocessor(), **parts)


def tokens(backbone: ClipBackbone) -> Recognizer:
    return recognizer(
        backbone, I3DHead(num_classes=CLASSES, in_channels=backbone.out_channels[-1], dropout=0.0)
    )


def clips(head_channels: int, backbone: ResNet3d) -> Recognizer:
    return recognizer(backbone, I3DHead(num_classes=CLASSES, in_channels=head_channels))


def shift_with_attention() -> Recognizer:
    mixing = (
        TemporalShift(frames=FRAMES),
        NonLocalFrames(frames=FRAMES, blocks=((0, 0), (0, 1), (0, 0), (0, 0)), form=NonLocalForm()),
    )
    return recognizer(images(), TSMHead(num_classes=CLASSES, in_channels=512), mixing=mixing)


def slowfast() -> Recognizer:
    lateral = Lateral(speed_ratio=2, channel_ratio=4, kernel=3)
    slow = ResNet3d(stage_blocks=(1, 1, 1, 1), base_channels=16, lateral=lateral, **PLAIN)
    fast = ResNet3d(stage_blocks=(1, 1, 1, 1), base_channels=4, **PLAIN)
    backbone = SlowFast(slow_path=slow, fast_path=fast, slow_step=2, fast_step=1)
    return recognizer(backbone, SlowFastHead(num_classes=CLASSES, in_channels=640))


def tpn() -> Recognizer:
    backbone = ResNet3d(stage_blocks=(1, 1, 1, 1), base_channels=32, out_indices=(2, 3), **PLAIN)
    neck = TPN(in_channels=(512, 1024), channels=64, out_channels=64, tempos=(4, 4), num_classes=CLASSES)
    return recognizer(backbone, I3DHead(num_classes=CLASSES, in_channels=64), neck=neck)


NETWORKS: dict[str, Callable[[], Recognizer]] = {
    "tsn": lambda: recognizer(images(), TSNHead(num_classes=CLASSES, in_channels=512)),
    "tsm": lambda: recognizer(
        images(), TSMHead(num_classes=CLASSES, in_channels=512), mixing=TemporalShift(frames=FRAMES)
    ),
    "tsm mobilenet": lambda: recognizer(
        MobileNetV2(width=0.25, out_indices=(7,), numbered=True),
        TSMHead(num_classes=CLASSES, in_channels=1280),
        mixing=TemporalShift(frames=FRAMES),
    ),
    "tsm non-local": shift_with_attention,
    "tin": lambda: recognizer(
        images(), TSMHead(num_classes=CLASSES, in_channels=512), mixing=TemporalInterlace(frames=FRAMES)
    ),
    "tanet": lambda: recognizer(
        images(50), TSMHead(num_classes=CLASSES, in_channels=2048), mixing=TemporalAdaptive(frames=FRAMES)
    ),
    "trn": lambda: recognizer(
        images(), TRNHead(num_classes=CLASSES, in_channels=512, frames=FRAMES, dropout=0.1, init_std=0.1)
    ),
    "c2d": lambda: recognizer(C2D(depth=18), I3DHead(num_classes=CLASSES, in_channels=512)),
    "i3d": lambda: clips(256, ResNet3d(pool1_stride=(1, 2), **ONES)),
    "i3d non-local": lambda: clips(256, ResNet3d(non_local=(0, 1, 0, 0), **ONES, **PLAIN)),
    "r2plus1d": lambda: clips(64, ResNet3d(depth=18, conv="2plus1d", **ONES, **PLAIN)),
    "ipcsn": lambda: clips(256, ResNet3d(separation="ip", kernel="3x3x3", **ONES, **PLAIN)),
    "ircsn": lambda: clips(256, ResNet3d(separation="ir", kernel="3x3x3", **ONES, **PLAIN)),
    "slowfast": slowfast,
    "tpn": tpn,
    "x3d": lambda: recognizer(X3D(width=0.5, bottleneck=2), X3DHead(num_classes=CLASSES, in_channels=256)),
    "swin": lambda: tokens(
        SwinTransformer3d(channels=16, depths=(2, 1, 1, 2), heads=HEADS, window=(2, 3, 3))
    ),
    "timesformer divided": lambda: tokens(TimeSformer(attention="divided", **TOKENS)),
    "timesformer joint": lambda: tokens(TimeSformer(attention="joint", **TOKENS)),
    "timesformer space": lambda: tokens(TimeSformer(attention="space", **TOKENS)),
    "videomae": lambda: tokens(VideoTransformer(**TOKENS)),
    "mvit": lambda: tokens(MViT(channels=16, depth=3, halving=(1, 2), kv_stride=(1, 4, 4), **CUBE)),
    "mvit widened before": lambda: tokens(MViT(channels=16, depth=3, halving=(1,), widening="mlp", **CUBE)),
    "uniformer v2": lambda: tokens(
        UniFormerV2(patch=16, channels=32, depth=2, heads=2, looks=(0, 1), dropout=0.0, **CUBE)
    ),
    "uniformer": lambda: tokens(
        UniFormer(depths=(1, 1, 1, 1), channels=(8, 8, 32, 32), head_channels=16, drop_path=0.0)
    ),
}


def batch(count: int = 3, views: int = 1, frames: int = FRAMES, size: int = SIZE) -> Batch:
    """Clips of noise, each of another class."""
    shape = (count, views, frames, 3, size, size)
    samples = [
        {"labels": torch.tensor([i % CLASSES]), "meta": Meta(index=i, id=i, path="", height=size, width=size)}
        for i in range(count)
    ]
    return Batch(list(torch.randint(0, 256, shape, dtype=torch.uint8)), samples)
