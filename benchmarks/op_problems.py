"""The problems that ``ops.py`` times, at the sizes of published models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from omma import ops

vision = torchvision.ops


@dataclass(frozen=True)
class Problem:
    """An operator's call.

    The bytes of a problem are those of its tensors, read or written once: forward inputs and output, and with
    the backward pass the inputs twice, the output and its gradient, and the inputs' gradients.
    """

    op: str
    note: str
    call: Callable[..., Any]
    tensors: dict[str, Tensor]
    settings: dict[str, Any] = field(default_factory=dict)
    others: dict[str, Callable[..., Any]] = field(default_factory=dict)
    """What it is held against beside our reference, by name; takes the tensors."""
    chosen_by: str = ""
    """The operator whose kernels it runs, if that isn't ``op``."""
    gradients: tuple[str, ...] = ()
    """The tensors whose gradients are timed as well."""


def random_boxes(count: int, device: str) -> Tensor:
    corner = torch.rand(count, 2, device=device) * 1000
    return torch.cat([corner, corner + 8 + torch.rand(count, 2, device=device).square() * 200], 1)


def rotated(count: int, device: str) -> Tensor:
    boxes = random_boxes(count, device)
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], boxes[:, :1]], 1)


def soft_loop(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Soft-NMS as one writes it down: take the best, lower the rest, drop what fell below."""
    index = torch.arange(len(scores), device=scores.device)
    kept, kept_scores = [], []
    while len(scores):
        best = scores.argmax()
        kept.append(index[best])
        kept_scores.append(scores[best])
        iou = torchvision.ops.box_iou(boxes[best][None], boxes)[0]
        scores = scores * torch.exp(-iou.square() / 0.5)
        stays = scores >= 1e-3
        stays[best] = False
        boxes, scores, index = boxes[stays], scores[stays], index[stays]
    return torch.stack(kept), torch.stack(kept_scores)


def suppression(device: str) -> list[Problem]:
    """Operators that suppress boxes."""
    many, few = random_boxes(10_000, device), random_boxes(1_000, device)
    classes, scores = torch.randint(0, 80, (10_000,), device=device), torch.rand(10_000, device=device)
    return [
        Problem(
            "batched_nms",
            "10,000 boxes, 80 classes",
            ops.batched_nms,
            {"boxes": many, "scores": scores, "groups": classes},
            {"iou_threshold": 0.5},
            {"torchvision": lambda boxes, scores, groups: vision.batched_nms(boxes, scores, groups, 0.5)},
            chosen_by="nms",
        ),
        Problem(
            "nms",
            "1,000 boxes",
            ops.nms,
            {"boxes": few, "scores": scores[:1000]},
            {"iou_threshold": 0.5},
            {"torchvision": lambda boxes, scores: vision.nms(boxes, scores, 0.5)},
        ),
        Problem(
            "soft_nms",
            "1,000 boxes",
            ops.soft_nms,
            {"boxes": few, "scores": scores[:1000]},
            {"sigma": 0.5},
            {"plain loop": soft_loop},
        ),
        Problem(
            "nms_rotated",
            "1,000 boxes",
            ops.nms_rotated,
            {"boxes": rotated(1_000, device), "scores": scores[:1000]},
            {"iou_threshold": 0.1},
            chosen_by="box_iou_rotated",
        ),
    ]


def overlaps(device: str) -> list[Problem]:
    """Operators on pairs of boxes, and on masks."""
    masks = F.avg_pool2d(torch.randn(16, 1, 256, 256, device=device), 9, 1, 4)[:, 0] > 0
    return [
        Problem(
            "pairwise_iou",
            "1,000 by 5,000",
            ops.pairwise_iou,
            {"a": random_boxes(1_000, device), "b": random_boxes(5_000, device)},
            others={"torchvision": lambda a, b: vision.box_iou(a, b)},
        ),
        Problem(
            "box_iou_rotated",
            "300 by 300",
            ops.box_iou_rotated,
            {"a": rotated(300, device), "b": rotated(300, device)},
        ),
        Problem("connected_components", "16 masks, 256 x 256", ops.connected_components, {"masks": masks}),
    ]


def regions(device: str) -> list[Problem]:
    """Operators on regions of maps."""
    maps = torch.randn(2, 256, 50, 84, device=device)
    image = torch.arange(256, device=device)[:, None] % 2
    rois = torch.cat([image, random_boxes(256, device)], 1)
    settings = {"size": 7, "scale": 1 / 16}
    return [
        Problem(
            "roi_align",
            "256 regions, 7 x 7, 256 channels",
            ops.roi_align,
            {"features": maps, "rois": rois},
            settings | {"sampling_ratio": 2},
            {
                "torchvision": lambda features, rois: vision.roi_align(
                    features, rois, 7, 1 / 16, 2, aligned=True
                )
            },
            gradients=("features",),
        ),
        Problem(
            "roi_pool",
            "256 regions, 7 x 7, 64 channels",
            ops.roi_pool,
            {"features": maps[:, :64], "rois": rois},
            settings,
            {"torchvision": lambda features, rois: vision.roi_pool(features, rois, 7, 1 / 16)},
            gradients=("features",),
        ),
        Problem(
            "roi_align_rotated",
            "256 regions, 7 x 7, 256 channels",
            ops.roi_align_rotated,
            {"features": maps, "rois": torch.cat([image, rotated(256, device)], 1)},
            settings | {"sampling_ratio": 2},
        ),
    ]


def losses(device: str) -> list[Problem]:
    """Focal loss, whose rival wants its labels one-hot; making them isn't timed."""
    logits, labels = torch.randn(20_000, 80, device=device), torch.randint(0, 81, (20_000,), device=device)
    hot = F.one_hot(labels, 81)[:, :80].float()
    return [
        Problem(
            "sigmoid_focal_loss",
            "20,000 positions, 80 classes",
            ops.sigmoid_focal_loss,
            {"logits": logits, "labels": labels},
            others={"torchvision": lambda logits, labels: vision.sigmoid_focal_loss(logits, hot)},
            gradients=("logits",),
        )
    ]


def features(device: str, half: bool) -> list[Problem]:
    """Operators on maps, at the full size of models on a GPU and at half of it on the CPU."""
    n, shrink = (2, 1) if device == "cuda" else (1, 2)
    dtype = torch.bfloat16 if half else torch.float32

    def maps(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, dtype=dtype)

    h, w = 200 // shrink, 336 // shrink
    calls = (
        *_attention(n, shrink, device, maps),
        *_convolutions(n, h, w, device, maps),
        *_moves(n, h, w, maps),
    )
    return [
        Problem(call.__name__, note, call, tensors, settings, gradients=tuple(tensors))
        for call, note, tensors, settings in calls
    ]


Call = tuple[Callable[..., Any], str, dict[str, Tensor], dict[str, Any]]
"""An operator, what the problem is, its tensors and the other arguments."""
Maps = Callable[..., Tensor]


def _attention(n: int, shrink: int, device: str, maps: Maps) -> list[Call]:
    sizes = [(100 // shrink, 167 // shrink), (50 // shrink, 84 // shrink), (25 // shrink, 42 // shrink)]
    sizes.append((13 // shrink, 21 // shrink))
    cells = sum(h * w for h, w in sizes)
    found: list[Call] = []
    for queries, note in ((cells, "DINO encoder"), (300, "DINO decoder, 300 queries")):
        weights = torch.rand(n, queries, 8, 16, device=device).softmax(-1)
        tensors = {
            "value": maps(n, cells, 8, 32),
            "locations": torch.rand(n, queries, 8, 4, 4, 2, device=device),
            "weights": weights.reshape(n, queries, 8, 4, 4),
        }
        found.append((ops.ms_deform_attn, note, tensors, {"sizes": sizes}))
    tensors = {"query": maps(n, 64, 97, 97), "key": maps(n, 64, 97, 97), "value": maps(n, 512, 97, 97)}
    return [*found, (ops.criss_cross_attention, "97 x 97", tensors, {})]


def _convolutions(n: int, h: int, w: int, device: str, maps: Maps) -> list[Call]:
    deformed = {
        "x": maps(n, 256, h // 4, w // 4),
        "offset": torch.randn(n, 18, h // 4, w // 4, device=device),
        "weight": maps(256, 256, 3, 3),
        "mask": torch.rand(n, 9, h // 4, w // 4, device=device),
    }
    upsampled = {"x": maps(n, 256, h // 2, w // 2), "kernels": maps(n, 25, h // 2 * 2, w // 2 * 2)}
    dynamic = {
        "x": maps(100, 10, h // 2, w // 2),
        "weight": maps(100, 8, 10, 1, 1),
        "bias": maps(100, 8),
    }
    return [
        (ops.deform_conv2d, "256 channels, stride 16", deformed, {"padding": 1}),
        (ops.carafe, "256 channels, stride 8 to 4", upsampled, {"kernel_size": 5, "scale": 2}),
        (ops.dynamic_conv2d, "CondInst, 100 instances", dynamic, {}),
    ]


def _moves(n: int, h: int, w: int, maps: Maps) -> list[Call]:
    windows = {"size": 7, "shift": 3}
    return [
        (ops.corner_pool, "128 x 128", {"x": maps(n, 128, 128, 128)}, {"direction": "top"}),
        (ops.window_partition, "stage 1 of Swin-T, shifted", {"x": maps(n, h, w, 96)}, windows),
    ]


def all_problems(device: str, half: bool) -> list[Problem]:
    """Every problem, on one device; features are bfloat16 where ``half``."""
    return [
        *suppression(device),
        *overlaps(device),
        *regions(device),
        *losses(device),
        *features(device, half),
    ]
