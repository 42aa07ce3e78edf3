"""Inference and one training step of detectors, on the CPU.

Claim: Faster R-CNN R50 and RetinaNet R50 take at most 1.0 of the time of torchvision's own, with the same
weights on the same image of 800 x 1088 pixels. RTMDet-tiny and YOLOX-tiny, which torchvision doesn't have,
are timed beside them at 640 x 640. Models take turns, so that whatever slows the machine slows both.

    python benchmarks/detectors.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from omma.checkpoint import load_weights
from omma.config import Config, check
from omma.experiment import Experiment
from omma.model import Model
from omma.structures import Batch, Meta

ROUNDS, OBJECTS = 5, 12


def ours(name: str) -> Model:
    config = Config.load(name)
    if config.get("model.backbone.weights") is not None:
        config = Config.load(name, ["model.backbone.weights=null"])
    return check(config, Experiment)["model"].build()


def faster_rcnn() -> nn.Module:
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, trainable_layers=3)
    return FasterRCNN(backbone, 91, min_size=800, max_size=1333)


def retinanet() -> nn.Module:
    backbone = resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        trainable_layers=3,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    return RetinaNet(backbone, 91, min_size=800, max_size=1333)


def scene(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """An image of noise, boxes, labels."""
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([width / 2, height / 2])
    size = 32 + torch.rand(OBJECTS, 2, generator=generator) * torch.tensor([width / 3, height / 3])
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
    return image, torch.cat([corner, corner + size], 1), torch.arange(OBJECTS)


def batch_of(image: Tensor, boxes: Tensor, labels: Tensor) -> Batch:
    height, width = image.shape[-2:]
    meta = Meta(index=0, id=0, path="noise.jpg", height=height, width=width)
    sample: Any = {"boxes": boxes, "labels": labels, "ignored_boxes": boxes[:0], "meta": meta}
    return Batch([image], [sample])


def step(losses: Callable[[], dict[str, Tensor]]) -> None:
    torch.stack(list(losses().values())).sum().backward()


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turn(runs: list[Callable[[], Any]]) -> list[list[float]]:
    """Seconds of each round of each; a round before them warms up."""
    for run in runs:
        run()
    rounds = [[timed(run) for run in runs] for _ in range(ROUNDS)]
    return [list(times) for times in zip(*rounds)]


def runs_of(model: Model, size: tuple[int, int]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Inference and a training step of one of ours."""
    batch = batch_of(*scene(*size))

    def infer() -> None:
        model.eval()
        with torch.inference_mode():
            model.predict(batch)

    def train() -> None:
        model.train().zero_grad()
        step(lambda: model.loss(batch))

    return infer, train


def runs_of_theirs(model: nn.Module, size: tuple[int, int]) -> tuple[Callable[[], Any], Callable[[], Any]]:
    image, boxes, labels = scene(*size)
    # Theirs takes images in 0..1; ours turns bytes into floats on its own time.
    images, targets = [image / 255], [{"boxes": boxes, "labels": labels + 1}]

    def infer() -> None:
        model.eval()
        with torch.inference_mode():
            model(images)

    def train() -> None:
        model.train().zero_grad()
        step(lambda: model(images, targets))

    return infer, train


def main() -> None:
    """Print one row per model and kind of run."""
    torch.manual_seed(0)
    pairs = [
        ("faster-rcnn_r50_fpn_1x_coco", faster_rcnn, (800, 1088)),
        ("retinanet_r50_fpn_torchvision_coco", retinanet, (800, 1088)),
        ("rtmdet_tiny_8xb32-300e_coco", None, (640, 640)),
        ("yolox_tiny_8xb8-300e_coco", None, (640, 640)),
    ]
    print(f"{torch.get_num_threads()} threads, batch 1, medians of {ROUNDS}")
    for name, reference, size in pairs:
        model = ours(name)
        if reference is None:
            times = in_turn(list(runs_of(model, size)))
            for kind, values in zip(("inference", "training step"), times):
                print(f"{name:36} {kind:14} {1000 * statistics.median(values):8.0f} ms")
            continue
        theirs = reference()
        with tempfile.TemporaryDirectory() as folder:
            torch.save(theirs.state_dict(), Path(folder) / "theirs.pth")
            load_weights(model, Path(folder) / "theirs.pth")
        for kind, mine, other in zip(
            ("inference", "training step"), runs_of(model, size), runs_of_theirs(theirs, size)
        ):
            a, b = in_turn([mine, other])
            ratio = statistics.median(x / y for x, y in zip(a, b))
            print(
                f"{name:36} {kind:14} {1000 * statistics.median(a):8.0f} ms, torchvision "
                f"{1000 * statistics.median(b):8.0f} ms, ratio {ratio:.3f}   <= 1.0"
            )


if __name__ == "__main__":
    main()
