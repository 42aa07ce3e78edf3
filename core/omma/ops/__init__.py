"""Operators on boxes and regions, one file per op."""

from omma.ops.boxes import box_area, elementwise_giou, elementwise_iou, pairwise_iou
from omma.ops.nms import batched_nms
from omma.ops.roi_align import roi_align

__all__ = ["batched_nms", "box_area", "elementwise_giou", "elementwise_iou", "pairwise_iou", "roi_align"]
