"""How good detections are: average precision of COCO, LVIS and Pascal VOC, and what to look at first."""

from omma_detection.metrics.coco import CocoMetric
from omma_detection.metrics.lvis import LvisMetric
from omma_detection.metrics.proposals import ProposalMetric
from omma_detection.metrics.voc import VocMetric

__all__ = ["CocoMetric", "LvisMetric", "ProposalMetric", "VocMetric"]
