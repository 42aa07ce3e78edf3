"""What a segmentation is judged by."""

from omma_segmentation.metrics.boundary_iou import BoundaryIoU
from omma_segmentation.metrics.iou import SegmentationMetric

__all__ = ["BoundaryIoU", "SegmentationMetric"]
