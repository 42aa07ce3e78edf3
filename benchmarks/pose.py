"""Speed of key points: the data pipeline, the evaluation, and a model beside its bare network.

    python benchmarks/pose.py pipeline --coco FOLDER   load, crop, augment and encode, HRNet's recipe
    python benchmarks/pose.py oks                      evaluation beside pycocotools
    python benchmarks/pose.py model                    rtmpose-m beside its backbone and head

One thread each. Times are the process' own CPU seconds, which neighbours on the machine disturb little; of
several rounds the best counts, and of the model, whose two sides take turns, the median. In the pipeline no
sample follows one of the same image, as in training; the same in order, as in evaluation, decodes each
image once. Wanted: 400 samples/s at 256 x 192; 5 times as fast as pycocotools with 50,000 objects; at most
1.05 of the bare forward pass with 32 images.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch

from omma.config import Config, check
from omma.data.collate import collate
from omma.experiment import Experiment
from omma.structures import Batch, DataInfo, Meta, Prediction, Target
from omma_pose.datasets.skeletons import COCO
from omma_pose.metrics import CocoKeypointMetric

RECIPE, MODEL = "td-hm_hrnet-w32_8xb64-210e_coco-256x192", "rtmpose-m_8xb256-420e_coco-256x192"
BATCH = 32


def best(work: Callable[[], Any], rounds: int) -> float:
    """CPU seconds of the fastest of several rounds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def pipeline(args: argparse.Namespace) -> None:
    plan = check(Config.load(RECIPE, [f"data.root={args.coco}"]), Experiment)
    dataset = plan["data"]["train"]["dataset"].build()
    codec = plan["model"]["head"]["codec"].build()

    def work(order: list[int]) -> None:
        for start in range(0, len(order), BATCH):
            batch = collate([dataset[i] for i in order[start : start + BATCH]])
            keypoints = torch.cat([sample["keypoints"] for sample in batch.samples])
            visible = torch.cat([sample["visibility"] for sample in batch.samples]) > 0
            codec.encode(keypoints, visible.float())

    count = len(dataset)
    # Far jumps, so that as in training no sample follows one of the same image, which is decoded once only.
    step = next(step for step in range(25, count) if math.gcd(step, count) == 1)
    for name, order in (
        ("pipeline", [i * step % count for i in range(count)]),
        ("  in order", list(range(count))),
    ):
        rate = count / best(lambda order=order: work(order), args.rounds)
        print(f"{name:<12} {rate:8.0f} samples/s{' (wanted: at least 400)' if name == 'pipeline' else ''}")


def people(count: int, seed: int = 0) -> tuple[list[Prediction], list[Target]]:
    """Images of one to five people, each found once with some error and sometimes twice."""
    rng = np.random.default_rng(seed)
    predictions, targets, made = [], [], 0
    while made < count:
        number = int(rng.integers(1, 6))
        size = rng.lognormal(4.5, 0.7, (number, 1, 1)).clip(12, 400) * np.array([1.0, 2.0])
        true = rng.uniform(0, 300, (number, 1, 2)) + rng.random((number, 17, 2)) * size
        owner = np.concatenate([np.arange(number), np.flatnonzero(rng.random(number) < 0.4)])
        noise = rng.choice([0.01, 0.03, 0.1], (len(owner), 1, 1)) * size[owner]
        found = (true[owner] + rng.normal(0, 1, (len(owner), 17, 2)) * noise).astype(np.float32)
        corners = np.concatenate([true.min(axis=1), true.max(axis=1)], axis=1)
        predictions.append(
            Prediction(
                keypoints=torch.from_numpy(found),
                keypoint_scores=torch.ones(len(owner), 17),
                scores=torch.from_numpy(rng.random(len(owner)).astype(np.float32)),
                labels=torch.zeros(len(owner), dtype=torch.int64),
                areas=torch.ones(len(owner)),
            )
        )
        targets.append(
            Target(
                index=len(targets),
                id=len(targets),
                path="",
                boxes=torch.from_numpy(corners),
                labels=torch.zeros(number, dtype=torch.int64),
                crowd=torch.zeros(number, dtype=torch.bool),
                area=torch.from_numpy(0.6 * size.prod(axis=(1, 2))),
                keypoints=torch.from_numpy(true),
                visibility=torch.from_numpy((rng.random((number, 17)) < 0.8).astype(np.uint8) * 2),
            )
        )
        made += number
    return predictions, targets


def dictionaries(predictions: list[Prediction], targets: list[Target]) -> tuple[dict[str, Any], list[Any]]:
    annotations, results = [], []
    for prediction, target in zip(predictions, targets):
        seen = target["visibility"].double()[..., None]
        boxes = target["boxes"].clone()
        boxes[:, 2:] -= boxes[:, :2]
        triples = torch.cat([target["keypoints"], seen], dim=2).flatten(1).tolist()
        for keypoints, box, area, visible in zip(triples, boxes.tolist(), target["area"].tolist(), seen):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": target["index"],
                    "category_id": 1,
                    "bbox": box,
                    "area": area,
                    "iscrowd": 0,
                    "num_keypoints": int((visible > 0).sum()),
                    "keypoints": keypoints,
                }
            )
        places = torch.nn.functional.pad(prediction["keypoints"].double(), (0, 1), value=1.0).flatten(1)
        for keypoints, score in zip(places.tolist(), prediction["scores"].tolist()):
            results.append(
                {"image_id": target["index"], "category_id": 1, "keypoints": keypoints, "score": score}
            )
    images = [{"id": target["index"]} for target in targets]
    return {"images": images, "annotations": annotations, "categories": [{"id": 1}]}, results


def referee(truth: dict[str, Any], results: list[Any]) -> np.ndarray:
    from pycocotools.coco import COCO as Coco
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        api = Coco()
        api.dataset = truth
        api.createIndex()
        evaluation = COCOeval(api, api.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def oks(args: argparse.Namespace) -> None:
    predictions, targets = people(args.objects)
    truth, results = dictionaries(predictions, targets)
    found: list[Any] = []

    def ours() -> None:
        metric = CocoKeypointMetric(scoring="box", suppression=None)
        metric.start(DataInfo(("person",), skeleton=COCO))
        metric.update(predictions, targets)
        found[:] = [*metric.compute().values()]

    mine = best(ours, args.rounds)
    start = time.process_time()
    stats = referee(truth, results)
    theirs = time.process_time() - start
    print(f"evaluation   {mine:8.2f} s for {len(truth['annotations'])} objects, pycocotools {theirs:.2f} s")
    print(f"  ratio      {theirs / mine:8.1f} (wanted: at least 5)")
    print(f"  largest difference of a number {np.abs(np.array(found) - stats).max():.1e}")


def model(args: argparse.Namespace) -> None:
    plan = check(Config.load(MODEL, ["model.backbone.weights=null", "model.flip_test=false"]), Experiment)
    made = plan["model"].build().eval()
    images = list(torch.randint(0, 256, (BATCH, 3, 256, 192), dtype=torch.uint8))
    crop = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    samples: list[Any] = [
        {"crop": crop, "meta": Meta(index=i, id=i, path="", height=256, width=192)} for i in range(BATCH)
    ]
    batch, x = Batch(images, samples), torch.randn(BATCH, 3, 256, 192)
    with torch.inference_mode():
        made.predict(batch)
        # In turns: the processor's speed changes in the course of a minute.
        bare, whole = [], []
        for _ in range(2 * args.rounds + 1):
            bare.append(best(lambda: made.head(made.backbone(x)), 1))
            whole.append(best(lambda: made.predict(batch), 1))
    ours, theirs = statistics.median(whole), statistics.median(bare)
    ratio = statistics.median(a / b for a, b in zip(whole, bare))
    print(f"rtmpose-m    {ours:8.3f} s for {BATCH} images, backbone and head alone {theirs:.3f} s")
    print(f"  ratio      {ratio:8.3f} (median of {len(whole)} pairs; wanted: at most 1.05)")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part")
    part = parts.add_parser("pipeline")
    part.add_argument("--coco", default="../shared/data/coco_mini", help="folder of COCO's form")
    part.set_defaults(run=pipeline)
    part = parts.add_parser("oks")
    part.add_argument("--objects", type=int, default=50_000)
    part.set_defaults(run=oks)
    parts.add_parser("model").set_defaults(run=model)
    for each in parts.choices.values():
        each.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if args.part is None:
        for name in parts.choices:
            parsed = parser.parse_args([name])
            parsed.run(parsed)
    else:
        args.run(args)


if __name__ == "__main__":
    main()
