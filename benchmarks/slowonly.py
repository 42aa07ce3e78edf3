"""Inference of SlowOnly R50 4x16 against torchvision's video ResNet, for each operation.

    python benchmarks/slowonly.py

All see four views, as tests take many of a video: SlowOnly 4 frames of 224 x 224; of torchvision's video
ResNets r3d_18 its 16 frames of 112 x 112, and its own ResNet-50 of bottlenecks without time, which is
SlowOnly's kind, the same 4 frames. Weights are random, one thread, all by turns. Operations are those of
``torch.utils.flop_counter``. Medians of pairs of the process' CPU seconds for each operation. Wanted: at
most 1.0.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.video import r3d_18
from torchvision.models.video.resnet import BasicStem, Bottleneck, Conv3DNoTemporal, VideoResNet

from omma.config import Config, check
from omma.experiment import Experiment

VIEWS = 4
CONFIG = "slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb"


def operations(work: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    ours = check(Config.load(CONFIG), Experiment)["model"].build().eval()
    views, clip = torch.randn(VIEWS, 4, 3, 224, 224), torch.randn(VIEWS, 3, 16, 112, 112)
    r3d = r3d_18(num_classes=400).eval()
    r50 = VideoResNet(Bottleneck, [Conv3DNoTemporal] * 4, [3, 4, 6, 3], BasicStem, 400).eval()
    works = {
        "slowonly r50 4x16": lambda: ours.scores(views),
        "r3d_18": lambda: r3d(clip),
        "VideoResNet-50": lambda: r50(views.transpose(1, 2)),
    }
    counts = [operations(work) for work in works.values()]
    turns = [[seconds(work) for work in works.values()] for _ in range(rounds + 1)][1:]
    for name, count, taken in zip(works, counts, zip(*turns)):
        ratio = statistics.median((turn[0] / counts[0]) / (own / count) for turn, own in zip(turns, taken))
        middle = statistics.median(taken)
        print(
            f"{name:18} {count / 1e9:6.1f} GFLOP {1000 * middle:6.0f} ms {count / middle / 1e9:6.1f} GFLOP/s"
            f"   slowonly's time for each operation over its own: {ratio:.3f}"
        )


if __name__ == "__main__":
    main()
