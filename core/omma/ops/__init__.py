"""Operators on boxes, regions, features and masks, one file per op; ``backend`` chooses their kernels."""

from omma.ops.backend import check_environment
from omma.ops.boxes import box_area, elementwise_giou, elementwise_iou, pairwise_iou
from omma.ops.deform_conv import deform_conv2d
from omma.ops.ms_deform_attn import ms_deform_attn
from omma.ops.nms import batched_nms, nms
from omma.ops.roi_align import roi_align

__all__ = [
    "batched_nms",
    "box_area",
    "deform_conv2d",
    "elementwise_giou",
    "elementwise_iou",
    "ms_deform_attn",
    "nms",
    "pairwise_iou",
    "roi_align",
]

check_environment()
