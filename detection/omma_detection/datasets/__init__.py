"""Readers of detection data sets."""

from omma_detection.datasets.base import DetectionDataset
from omma_detection.datasets.cityscapes import CityscapesDetection
from omma_detection.datasets.coco import CocoDetection
from omma_detection.datasets.crowdhuman import CrowdHumanDetection
from omma_detection.datasets.label_map import LabelMapDetection
from omma_detection.datasets.lvis import LvisDetection
from omma_detection.datasets.objects365 import Objects365Detection
from omma_detection.datasets.open_images import OpenImagesDetection
from omma_detection.datasets.voc import VocDetection
from omma_detection.datasets.wider_face import WiderFaceDetection
from omma_detection.datasets.yolo import YoloDetection

__all__ = [
    "CityscapesDetection",
    "CocoDetection",
    "CrowdHumanDetection",
    "DetectionDataset",
    "LabelMapDetection",
    "LvisDetection",
    "Objects365Detection",
    "OpenImagesDetection",
    "VocDetection",
    "WiderFaceDetection",
    "YoloDetection",
]
