"""Readers of detection data sets."""

from omma_detection.datasets.base import DetectionDataset
from omma_detection.datasets.coco import CocoDetection
from omma_detection.datasets.label_map import LabelMapDetection
from omma_detection.datasets.lvis import LvisDetection
from omma_detection.datasets.voc import VocDetection
from omma_detection.datasets.yolo import YoloDetection

__all__ = [
    "CocoDetection",
    "DetectionDataset",
    "LabelMapDetection",
    "LvisDetection",
    "VocDetection",
    "YoloDetection",
]
