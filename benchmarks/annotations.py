"""Memory of 100,000 images with 1,000,000 boxes: the process that reads them, and each worker's own share.

The parent's share is resident memory after reading minus that before, and the peak in between; a worker's is
memory that it shares with nobody (USS), after it has gone through samples of the whole data set.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import random
import resource
import tempfile
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 64, 48


@dataclass
class Settings:
    """What a loader is made from."""

    dataset: object
    workers: int
    batch_size: int = 8
    sampler: object = None
    group_by_aspect: bool = True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--boxes", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=500, help="taken before a worker is measured")
    parser.add_argument("--start", choices=("fork", "spawn"), default="fork", help="how workers are started")
    args = parser.parse_args()
    multiprocessing.set_start_method(args.start)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.images, args.boxes)
        measure(Path(folder), args.workers, args.batches)


def write(folder: Path, images: int, boxes: int) -> None:
    """A COCO file whose images are all the same small picture."""
    generator = random.Random(0)
    cv2.imwrite(str(folder / "image.jpg"), np.full((HEIGHT, WIDTH, 3), 127, np.uint8))
    with (folder / "annotations.json").open("w") as file:
        file.write('{"images": [')
        for i in range(images):
            image = {"id": i, "file_name": "image.jpg", "width": WIDTH, "height": HEIGHT}
            file.write(("," if i else "") + json.dumps(image))
        file.write('], "annotations": [')
        for i in range(boxes):
            x, y = round(generator.uniform(0, WIDTH - 9), 2), round(generator.uniform(0, HEIGHT - 9), 2)
            box = [x, y, 8, 8]
            annotation = {"id": i, "image_id": generator.randrange(images), "category_id": 1 + i % 80}
            record = {**annotation, "bbox": box, "area": 64, "iscrowd": 0}
            file.write(("," if i else "") + json.dumps(record))
        categories = [{"id": i + 1, "name": f"class {i}"} for i in range(80)]
        file.write('], "categories": ' + json.dumps(categories) + "}")


def measure(folder: Path, workers: int, batches: int) -> None:
    from omma.data.loader import make_train_loader
    from omma_detection.datasets import CocoDetection

    gc.collect()
    before, started = memory("self", "Rss"), time.perf_counter()
    dataset = CocoDetection(root=str(folder), annotations="annotations.json", images=".")
    seconds = time.perf_counter() - started
    after = memory("self", "Rss")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    settings = Settings(dataset, workers)
    iterator = iter(make_train_loader(settings, seed=0))  # pyright: ignore[reportArgumentType]
    pids = [child.pid for child in multiprocessing.active_children()]
    next(iterator)
    early = [memory(str(pid), "Private") for pid in pids]
    for _ in islice(iterator, batches):
        pass
    late = [memory(str(pid), "Private") for pid in pids]
    objects = len(dataset.annotations.boxes)
    print(f"{len(dataset)} images, {objects} boxes, read in {seconds:.1f} s; MB:")
    more = after - before
    print(f"  parent   before {before:5.0f}   after {after:5.0f}   more {more:5.0f}   peak {peak:5.0f}")
    for first, last in zip(early, late):
        print(f"  worker   own at first {first:5.0f}   at last {last:5.0f}   more {last - first:5.0f}")


def memory(process: str, kind: str) -> float:
    """MB of a process: all lines of its account that start with ``kind``."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


if __name__ == "__main__":
    main()
