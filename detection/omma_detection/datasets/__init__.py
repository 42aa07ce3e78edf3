"""Data sets of boxes and masks: COCO, Pascal VOC and YOLO folders."""

from omma_detection.datasets.base import DetectionDataset
from omma_detection.datasets.coco import CocoDetection
from omma_detection.datasets.voc import VocDetection
from omma_detection.datasets.yolo import YoloDetection

__all__ = ["CocoDetection", "DetectionDataset", "VocDetection", "YoloDetection"]
