"""Readers of detection data sets."""

from omma_detection.datasets.base import DetectionDataset
from omma_detection.datasets.coco import CocoDetection
from omma_detection.datasets.crowdhuman import CrowdHumanDetection
from omma_detection.datasets.label_map import LabelMapDetection
from omma_detection.datasets.lvis import LvisDetection
from omma_detection.datasets.objects365 import Objects365Detection
from omma_detection.datasets.voc import VocDetection
from omma_detection.datasets.yolo import YoloDetection

__all__ = [
    "CocoDetection",
    "CrowdHumanDetection",
    "DetectionDataset",
    "LabelMapDetection",
    "LvisDetection",
    "Objects365Detection",
    "VocDetection",
    "YoloDetection",
]
