"""How good detections are: COCO and Pascal VOC average precision, and what to look at first."""

from omma_detection.metrics.coco import CocoMetric
from omma_detection.metrics.proposals import ProposalMetric
from omma_detection.metrics.voc import VocMetric

__all__ = ["CocoMetric", "ProposalMetric", "VocMetric"]
