"""How many images a second one thread reads and transforms.

    python benchmarks/transforms.py [--images 64] [--rounds 5]
    python benchmarks/transforms.py --coco FOLDER

The first has one image, a 1280x960 JPEG of quality 95 with photo-like texture and 10 objects: decode, resize
to fit 1333x800, mirror, pack; with outlines also rasterise. It prints the median time of each step and, from
the median of whole passes, images per second.

The second runs the training transforms of published recipes on a COCO folder. Claims: RTMDet-s 60 images/s,
RTMDet-Ins-s 50, YOLOX-s 45, Mask R-CNN 100. Recipes take turns; medians count. ``decoded each time`` keeps no
image that was read before; in COCO itself YOLOX hardly meets one again.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from torchvision import tv_tensors

from omma.config import Config, check
from omma.data.collate import collate
from omma.data.images import read_image
from omma.data.loader import make_train_loader
from omma.data.transforms import Compose, RandomFlip, RasteriseMasks, Resize, Transform
from omma.experiment import Experiment
from omma.structures import Meta, Polygons, Sample

HEIGHT, WIDTH, OBJECTS, VERTICES = 960, 1280, 10, 40
BATCH = 16
RECIPES = {
    "RTMDet-s": ("rtmdet_s_8xb32-300e_coco",),
    "RTMDet-Ins-s": ("rtmdet-ins_s_8xb32-300e_coco",),
    "YOLOX-s": ("yolox_s_8xb8-300e_coco",),
    "YOLOX-s, decoded each time": ("yolox_s_8xb8-300e_coco", "data.train.dataset.kept=1"),
    "Mask R-CNN": ("mask-rcnn_r50_fpn_1x_coco",),
}
"""Name of a recipe, its config and changes to it."""


def texture(rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 noise whose amplitude grows with its wavelength, as that of photographs does."""
    image = np.full((HEIGHT, WIDTH, 3), 128.0, np.float32)
    for period in (4, 16, 64, 256):
        coarse = rng.normal(0, 6 * period**0.5, (HEIGHT // period + 2, WIDTH // period + 2, 3))
        image += cv2.resize(coarse.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(image, 0, 255).astype(np.uint8)


def outline(rng: np.random.Generator) -> list[float]:
    """A star-shaped ring, flat x, y."""
    centre = rng.uniform((0, 0), (WIDTH, HEIGHT))
    angle = np.sort(rng.uniform(0, 2 * np.pi, VERTICES))
    radius = rng.uniform(20, 200) * rng.uniform(0.7, 1, VERTICES)
    ring = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return ring.clip((0, 0), (WIDTH, HEIGHT)).ravel().tolist()


def make_sample(path: Path, boxes: tv_tensors.BoundingBoxes, outlines: Polygons | None) -> Sample:
    """What a data set gives for one image."""
    meta = Meta(index=0, id=0, path=str(path), height=HEIGHT, width=WIDTH)
    labels = torch.zeros(OBJECTS, dtype=torch.int64)
    sample: Sample = {"image": read_image(path), "boxes": boxes, "labels": labels, "meta": meta}
    if outlines is not None:
        sample["masks"] = outlines
    return sample


def median(work: Callable[[], object], rounds: int) -> float:
    """Seconds, after one call to warm up."""
    work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def report(name: str, path: Path, masks: bool, images: int, rounds: int) -> None:
    """Print the rate of one setting and the time of its steps."""
    rng = np.random.default_rng(1)
    outlines = Polygons.from_coco([[outline(rng)] for _ in range(OBJECTS)], (HEIGHT, WIDTH))
    boxes = outlines.boxes()
    steps: list[Transform] = [Resize(short=800, long=1333), RandomFlip(prob=1.0)]
    steps += [RasteriseMasks()] if masks else []
    read = partial(make_sample, path, boxes, outlines if masks else None)
    sample = read()
    times = {"read": median(read, images)}
    for step in steps:
        times[type(step).__name__] = median(partial(step, sample), images)
        sample = step(sample)
    chain = Compose(transforms=steps)

    def one_pass() -> None:
        for _ in range(images):
            collate([chain(read())])

    rate = images / median(one_pass, rounds)
    print(f"{name:<18}{rate:6.0f} images/s   " + "  ".join(f"{k} {v * 1e3:.2f} ms" for k, v in times.items()))


def recipes(folder: Path, images: int, rounds: int) -> None:
    """Print the rate of each recipe on the images of ``folder``."""
    streams = {}
    for name, (config, *changes) in RECIPES.items():
        changes += [f"data.root={folder}", "data.train.workers=0", f"data.train.batch_size={BATCH}"]
        loader = check(Config.load(config, changes), Experiment)["data"]["train"].build()
        streams[name] = iter(make_train_loader(loader, seed=0))
    batches = -(-images // BATCH)
    times = {name: [] for name in streams}
    for turn in range(rounds + 1):
        for name, stream in streams.items():
            start = time.perf_counter(), time.process_time()
            for _ in islice(stream, batches):
                pass
            if turn:  # the first reads every file for the first time
                times[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    for name, taken in times.items():
        wall, cpu = (batches * BATCH / statistics.median(column) for column in zip(*taken))
        print(f"{name:<28}{wall:6.1f} images/s, {cpu:6.1f} by CPU time")


def main() -> None:
    """Measure with and without masks, or published recipes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=64, help="images in a pass (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="passes (default: %(default)s)")
    parser.add_argument("--quality", type=int, default=95, help="of the JPEG (default: %(default)s)")
    parser.add_argument("--coco", type=Path, help="measure published recipes on this COCO folder")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    if arguments.coco:
        recipes(arguments.coco, arguments.images, arguments.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texture.jpg"
        quality = [cv2.IMWRITE_JPEG_QUALITY, arguments.quality]
        cv2.imwrite(str(path), texture(np.random.default_rng(0)), quality)
        print(f"one thread, {WIDTH}x{HEIGHT} JPEG of {path.stat().st_size // 1024} KiB, {OBJECTS} objects")
        report("boxes", path, False, arguments.images, arguments.rounds)
        report(f"boxes + {VERTICES}-gons", path, True, arguments.images, arguments.rounds)


if __name__ == "__main__":
    main()
