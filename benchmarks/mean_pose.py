"""What the mean pose scores: the floor that a trained pose model must leave behind.

The mean place of each key point in its box, over the training samples, is put into the boxes of the
validation samples; the config's metrics judge it.

    python benchmarks/mean_pose.py td-hm_res18_lspet-128x128 data.root=data/lspet
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from omma.config import Config, check
from omma.data.dataset import Dataset
from omma.experiment import Experiment
from omma.structures import Prediction


def owned(dataset: Dataset, index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Box (4,), key points (K, 2) and visibility (K,) of whom a sample shows, original pixels."""
    target = dataset.target(index)
    row = target["instance"]
    return target["boxes"][row], target["keypoints"][row], target["visibility"][row]


def mean_pose(dataset: Dataset) -> Tensor:
    """(K, 2) mean places in 0..1 of the box, over the labelled ones."""
    total = count = torch.zeros(())
    for index in range(len(dataset)):
        box, keypoints, visibility = owned(dataset, index)
        labelled = (visibility > 0)[:, None]
        total = total + (keypoints - box[:2]) / (box[2:] - box[:2]) * labelled
        count = count + labelled
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    plan = check(Config.load(args.config, args.overrides), Experiment)
    train, val = (plan["data"][split]["dataset"].build() for split in ("train", "val"))
    pose = mean_pose(train)
    metrics = [metric.build() for metric in plan["metrics"]]
    for metric in metrics:
        metric.start(val.info)
    for index in range(len(val)):
        box, _, _ = owned(val, index)
        size = box[2:] - box[:2]
        prediction: Prediction = {
            "boxes": box[None],
            "scores": torch.ones(1),
            "labels": torch.zeros(1, dtype=torch.int64),
            "keypoints": (box[:2] + pose * size)[None],
            "keypoint_scores": torch.ones(1, len(pose)),
            "areas": size.prod()[None],
        }
        for metric in metrics:
            metric.update([prediction], [val.target(index)])
    print(f"mean pose of {len(train)} samples on {len(val)} others:")
    for metric in metrics:
        for name, value in metric.compute().items():
            print(f"  {name:24} {value:.3f}")


if __name__ == "__main__":
    main()
