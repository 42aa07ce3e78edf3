"""Inference, evaluation and sliding windows of segmentation, on the CPU.

Claims: DeepLabV3 R50 takes at most 1.0 of the time of torchvision's own, with the same weights on the same
image of 512 x 512 pixels. Confusions of 500 full-HD maps, which mIoU is computed from, take at most 0.5 of a
loop of NumPy's bincount. A sliding window over 2048 x 1024 pixels, whose tiles overlap by half, takes at most
1.1 of the network's time on its tiles, one by one. Both sides take turns, so that whatever slows the machine
slows both.

    python benchmarks/segmentation.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.models.segmentation import deeplabv3_resnet50

from omma.checkpoint import load_weights
from omma.config import Config, check
from omma.experiment import Experiment
from omma.structures import IGNORED, Batch, DataInfo, Meta
from omma_segmentation.metrics import BoundaryIoU, SegmentationMetric
from omma_segmentation.models.sliding_window import SlidingWindow

ROUNDS, MAPS, DIFFERENT, CLASSES = 5, 500, 10, 19


def ours(name: str) -> Any:
    config = Config.load(name)
    if config.get("model.backbone.weights") is not None:
        config = Config.load(name, ["model.backbone.weights=null"])
    return check(config, Experiment)["model"].build().eval()


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    with torch.inference_mode():
        run()
    return time.perf_counter() - start


def compare(what: str, mine: Callable[[], Any], other: Callable[[], Any], aim: float, rounds: int) -> None:
    """Print the medians of both, in turn after a round to warm up, and that of the pairs' ratios."""
    timed(mine)
    timed(other)
    pairs = [(timed(mine), timed(other)) for _ in range(rounds)]
    a, b = (statistics.median(times) for times in zip(*pairs))
    ratio = statistics.median(x / y for x, y in pairs)
    print(f"{what:56} {1000 * a:8.0f} ms to {1000 * b:8.0f} ms, ratio {ratio:.3f}   <= {aim}", flush=True)


def deeplab() -> None:
    torch.manual_seed(0)
    theirs: Any = deeplabv3_resnet50(weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    theirs.eval()
    model = ours("deeplabv3_r50-d8_torchvision_voc12")
    with tempfile.TemporaryDirectory() as folder:
        torch.save(theirs.state_dict(), Path(folder) / "theirs.pth")
        load_weights(model, Path(folder) / "theirs.pth")
    # As at inference: what only learns is left out of theirs as it is of ours.
    theirs.aux_classifier = None
    image = torch.randint(0, 256, (3, 512, 512), dtype=torch.uint8)
    meta = Meta(index=0, id=0, path="noise.jpg", height=512, width=512)
    batch = Batch([image], [{"meta": meta}])
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def reference() -> Any:
        return theirs(((image / 255 - mean) / std)[None])["out"].argmax(1).to(torch.uint8)

    what = "DeepLabV3 R50, 512 x 512, against torchvision's"
    compare(what, lambda: model.predict(batch), reference, 1.0, ROUNDS)


def maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels in blocks, a few ignored, and predictions that are wrong at one block in ten."""
    random = np.random.default_rng(seed)
    blocks = random.integers(0, CLASSES, (27, 48), dtype=np.uint8)
    wrong = np.where(random.random(blocks.shape) < 0.1, random.integers(0, CLASSES, blocks.shape), blocks)
    labels = np.where(random.random(blocks.shape) < 0.05, IGNORED, blocks)
    large, small = (np.kron(x, np.ones((40, 40), np.uint8)).astype(np.uint8) for x in (labels, wrong))
    return large, small


def evaluation() -> None:
    pairs = [maps(seed) for seed in range(DIFFERENT)]
    names = DataInfo(tuple(str(i) for i in range(CLASSES)))
    numbers: dict[str, float] = {}

    def judged(metric: Any, count: int) -> dict[str, float]:
        metric.start(names)
        for index in range(count):
            labels, predicted = (torch.from_numpy(x) for x in pairs[index % DIFFERENT])
            target = {"index": index, "path": "", "semantic": labels}
            metric.update([{"semantic": predicted}], [target])
        return metric.compute()

    def mine() -> None:
        numbers["ours"] = judged(SegmentationMetric(), MAPS)["mIoU"]

    def bincounts() -> None:
        total = np.zeros((CLASSES, CLASSES), np.int64)
        for index in range(MAPS):
            labels, predicted = pairs[index % DIFFERENT]
            counted = labels != IGNORED
            cells = labels[counted].astype(np.int64) * CLASSES + predicted[counted]
            total += np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
        right = np.diag(total)
        numbers["theirs"] = float((right / (total.sum(0) + total.sum(1) - right)).mean())

    compare(f"mIoU over {MAPS} maps of 1920 x 1080, against bincount", mine, bincounts, 0.5, 1)
    assert abs(numbers["ours"] - numbers["theirs"]) < 1e-12, numbers
    few = 20
    print(f"boundary IoU beside it: {1000 * timed(lambda: judged(BoundaryIoU(), few)) / few:.0f} ms a map")


def window() -> None:
    model = ours("bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024")
    slide = SlidingWindow(height=512, width=1024, stride_height=256, stride_width=512)
    x = torch.randn(1, 3, 1024, 2048)
    corners = product((0, 256, 512), (0, 512, 1024))
    tiles = [x[..., top : top + 512, left : left + 1024] for top, left in corners]

    def one_by_one() -> None:
        for tile in tiles:
            model.network(tile)

    what = "window of 512 x 1024, 9 tiles, against the tiles"
    compare(what, lambda: slide(model.network, x), one_by_one, 1.1, ROUNDS)


def main() -> None:
    """Print one row per claim."""
    print(f"{torch.get_num_threads()} threads, medians of {ROUNDS}")
    deeplab()
    evaluation()
    window()


if __name__ == "__main__":
    main()
