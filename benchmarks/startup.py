"""How long a user waits before anything happens.

Claims: ``import omma`` under 0.1 s, ``omma --help`` under 0.3 s, ``omma show`` under 0.5 s, and building
Faster R-CNN R50 from its config in a fresh process in at most 1.15 of the time that torchvision takes for
its own. Each line is the median of fresh processes, the two builds taken in turn.

    python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

CONFIG = "faster-rcnn_r50_fpn_1x_coco"
TORCHVISION = (
    "import torch, torchvision;"
    "torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)"
)
OMMA = (
    "from omma.config import Config, check; from omma.experiment import Experiment;"
    f"check(Config.load('{CONFIG}', ['model.backbone.weights=null']), Experiment)['model'].build()"
)
TIMED_IMPORT = "import time; t = time.perf_counter(); import omma; print(time.perf_counter() - t)"


def process(*command: str) -> float:
    """Seconds of one fresh process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print one row per claim."""
    imports = [
        float(subprocess.run([sys.executable, "-c", TIMED_IMPORT], check=True, capture_output=True).stdout)
        for _ in range(7)
    ]
    builds = [(process("-c", OMMA), process("-c", TORCHVISION)) for _ in range(7)]
    rows = [
        ("import omma", statistics.median(imports), "< 0.1"),
        ("omma --help", statistics.median(process("-m", "omma", "--help") for _ in range(7)), "< 0.3"),
        (
            f"omma show {CONFIG}",
            statistics.median(process("-m", "omma", "show", CONFIG) for _ in range(7)),
            "< 0.5",
        ),
        ("build Faster R-CNN R50, Omma", statistics.median(ours for ours, _ in builds), ""),
        ("build Faster R-CNN R50, torchvision", statistics.median(theirs for _, theirs in builds), ""),
        ("  ratio of the medians of pairs", statistics.median(a / b for a, b in builds), "<= 1.15"),
    ]
    for name, value, claim in rows:
        print(f"{name:45} {value:8.3f}   {claim}")


if __name__ == "__main__":
    main()
