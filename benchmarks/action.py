"""Speed of action recognition: the pipeline of skeletons.

    python benchmarks/action.py skeletons    read, normalise and sample sequences, one worker's work

One thread. Times are the process' own CPU seconds, which neighbours on the machine disturb little; of several
rounds the best counts. Wanted: 2,000 sequences/s of 100 frames with 17 joints.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from omma.config import Config, check
from omma.data.collate import collate
from omma.data.loader import SeededSamples
from omma.data.transforms import Compose
from omma.data.workers import WorkerLog
from omma.experiment import Experiment
from omma_action.datasets import SkeletonDataset, Track

RECIPES = tuple(f"stgcn_8xb16-{kind}-u100-80e_ntu60-xsub-keypoint-2d" for kind in ("joint", "bone-motion"))
BATCH, COUNT, FRAMES, JOINTS = 16, 1024, 100, 17


def best(work: Callable[[], Any], rounds: int) -> float:
    """CPU seconds of the fastest of several rounds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def sequences(count: int) -> SkeletonDataset:
    """One person in each, as most of NTU RGB+D."""
    rng = np.random.default_rng(0)
    joints = rng.random((count, 1, FRAMES, JOINTS, 3)) * [1920, 1080, 1]
    tracks = [Track(str(i), each.astype(np.float16), i % 60, (1080, 1920)) for i, each in enumerate(joints)]
    return SkeletonDataset(tracks, classes=[str(i) for i in range(60)], where="made")


def skeletons(args: argparse.Namespace) -> None:
    dataset = sequences(COUNT)
    for recipe in RECIPES:
        plan = check(Config.load(recipe), Experiment)
        parts = plan["data"]["train"]["dataset"]["dataset"]["transforms"]
        dataset.transforms = Compose(transforms=[part.build() for part in parts])
        samples: Any = SeededSamples(dataset, 0, WorkerLog(0))

        def work(samples: Any = samples) -> None:
            for start in range(0, COUNT, BATCH):
                collate(samples.__getitems__([(0, i, 0) for i in range(start, start + BATCH)]))

        rate = COUNT / best(work, args.rounds)
        print(f"skeletons    {rate:8.0f} sequences/s (wanted: at least 2000)   {recipe}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["skeletons"])
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    {"skeletons": skeletons}[args.what](args)


if __name__ == "__main__":
    main()
