"""How good detections are: average precision by the rules of each benchmark, and what to look at first."""

from omma_detection.metrics.coco import CocoMetric
from omma_detection.metrics.crowd_human import CrowdHumanMetric
from omma_detection.metrics.lvis import LvisMetric
from omma_detection.metrics.open_images import OpenImagesMetric
from omma_detection.metrics.proposals import ProposalMetric
from omma_detection.metrics.voc import VocMetric

__all__ = [
    "CocoMetric",
    "CrowdHumanMetric",
    "LvisMetric",
    "OpenImagesMetric",
    "ProposalMetric",
    "VocMetric",
]
