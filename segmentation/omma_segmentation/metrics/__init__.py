"""What a segmentation is judged by."""

from omma_segmentation.metrics.iou import SegmentationMetric

__all__ = ["SegmentationMetric"]
