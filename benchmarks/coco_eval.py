"""COCO box evaluation: CocoMetric, records and feeding included, against plain pycocotools.

Both get the same generated detections of 5,000 images of 80 classes. pycocotools starts from the list of
result dictionaries that users hand to it; CocoMetric starts from tensors. One thread each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import statistics
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from omma.structures import DataInfo, Prediction, Target
from omma_detection.metrics import CocoMetric

SIZE, CLASSES = 640, 80


def make(images: int, detections: int, seed: int = 0) -> tuple[list[Prediction], list[Target]]:
    """Objects as crowded as COCO's, found with some error, and false detections besides."""
    rng = np.random.default_rng(seed)
    predictions, targets = [], []
    for index in range(images):
        count = int(rng.poisson(7))
        corner, side = (
            rng.uniform(0, SIZE * 0.8, (count, 2)),
            rng.lognormal(4, 0.9, (count, 2)).clip(4, SIZE / 2),
        )
        true = np.concatenate([corner, corner + side], axis=1)
        labels = rng.integers(0, CLASSES, count)
        spread = rng.integers(0, max(count, 1), detections) if count else np.zeros(0, dtype=int)
        boxes = true[spread] + rng.normal(0, 0.15, (len(spread), 4)) * np.tile(side[spread], 2)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        guessed = np.where(
            rng.random(len(spread)) < 0.5, labels[spread], rng.integers(0, CLASSES, len(spread))
        )
        order = np.argsort(-(scores := rng.random(len(spread))))
        predictions.append(
            Prediction(
                boxes=torch.tensor(boxes[order], dtype=torch.float32),
                scores=torch.tensor(scores[order], dtype=torch.float32),
                labels=torch.tensor(guessed[order]),
            )
        )
        targets.append(
            Target(
                index=index,
                id=index,
                path=f"{index}.jpg",
                height=SIZE,
                width=SIZE,
                boxes=torch.tensor(true, dtype=torch.float32),
                labels=torch.tensor(labels),
                crowd=torch.tensor(rng.random(count) < 0.01),
                area=torch.tensor(side.prod(axis=1), dtype=torch.float32),
            )
        )
    return predictions, targets


def ours(predictions: list[Prediction], targets: list[Target]) -> dict[str, float]:
    metric = CocoMetric()
    metric.start(DataInfo(tuple(map(str, range(CLASSES)))))
    for start in range(0, len(targets), 16):
        metric.update(predictions[start : start + 16], targets[start : start + 16])
    return metric.compute()


def dictionaries(predictions: list[Prediction], targets: list[Target]) -> tuple[dict, list[dict]]:
    annotations, results = [], []
    for prediction, target in zip(predictions, targets):
        boxes = target["boxes"].double()
        boxes[:, 2:] -= boxes[:, :2]
        for box, label, crowd, area in zip(
            *(v.tolist() for v in (boxes, target["labels"], target["crowd"], target["area"]))
        ):
            one = {
                "image_id": target["index"],
                "category_id": label,
                "bbox": box,
                "area": area,
                "iscrowd": int(crowd),
            }
            annotations.append({"id": len(annotations) + 1, **one})
        boxes = prediction["boxes"].double()
        boxes[:, 2:] -= boxes[:, :2]
        for box, label, score in zip(
            *(v.tolist() for v in (boxes, prediction["labels"], prediction["scores"]))
        ):
            results.append({"image_id": target["index"], "category_id": label, "bbox": box, "score": score})
    images = [{"id": target["index"], "height": SIZE, "width": SIZE} for target in targets]
    return {
        "images": images,
        "categories": [{"id": i} for i in range(CLASSES)],
        "annotations": annotations,
    }, results


def referee(truth: dict, results: list[dict]) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = truth
        api.createIndex()
        evaluator = COCOeval(api, api.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return list(evaluator.stats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="per image")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    predictions, targets = make(args.images, args.detections)
    times: dict[str, list[float]] = {"omma": [], "pycocotools": []}
    difference = 0.0
    for _ in range(args.repeats):
        start = time.perf_counter()
        values = ours(predictions, targets)
        times["omma"].append(time.perf_counter() - start)
        truth, results = dictionaries(predictions, targets)
        start = time.perf_counter()
        stats = referee(truth, results)
        times["pycocotools"].append(time.perf_counter() - start)
        difference = max(abs(a - b) for a, b in zip(values.values(), stats))
    medians = {name: statistics.median(each) for name, each in times.items()}
    print(f"{args.images} images, {args.detections} detections each, medians of {args.repeats}, one thread")
    for name, seconds in medians.items():
        print(f"  {name:12} {seconds:8.2f} s")
    print(f"  ratio        {medians['pycocotools'] / medians['omma']:8.2f} (wanted: at least 5)")
    print(f"  largest difference of a number {difference:.1e}")


if __name__ == "__main__":
    main()
