"""Operators on boxes, regions, features and masks, one file per op; ``backend`` chooses their kernels."""

from omma.ops.backend import check_environment
from omma.ops.boxes import box_area, elementwise_giou, elementwise_iou, pairwise_iou
from omma.ops.carafe import carafe
from omma.ops.corner_pool import corner_pool
from omma.ops.criss_cross import criss_cross_attention
from omma.ops.deform_conv import deform_conv2d
from omma.ops.dynamic_conv import dynamic_conv2d
from omma.ops.masked_conv import masked_conv2d
from omma.ops.ms_deform_attn import ms_deform_attn
from omma.ops.nms import batched_nms, nms
from omma.ops.psa_mask import psa_mask
from omma.ops.roi_align import roi_align
from omma.ops.temporal_shift import temporal_shift, tin_shift
from omma.ops.windows import window_mask, window_partition, window_reverse

__all__ = [
    "batched_nms",
    "box_area",
    "carafe",
    "corner_pool",
    "criss_cross_attention",
    "deform_conv2d",
    "dynamic_conv2d",
    "elementwise_giou",
    "elementwise_iou",
    "masked_conv2d",
    "ms_deform_attn",
    "nms",
    "pairwise_iou",
    "psa_mask",
    "roi_align",
    "temporal_shift",
    "tin_shift",
    "window_mask",
    "window_partition",
    "window_reverse",
]

check_environment()
