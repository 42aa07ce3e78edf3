"""Operators on boxes, regions, features and masks, one file per op; ``backend`` chooses their kernels."""

from omma.ops.backend import check_environment
from omma.ops.boxes import (
    box_area,
    box_centres,
    elementwise_ciou,
    elementwise_diou,
    elementwise_giou,
    elementwise_iou,
    pairwise_ciou,
    pairwise_diou,
    pairwise_giou,
    pairwise_iou,
)
from omma.ops.carafe import carafe
from omma.ops.colour import rgb_to_lab
from omma.ops.connected_components import connected_components
from omma.ops.corner_pool import corner_pool
from omma.ops.criss_cross import criss_cross_attention
from omma.ops.deform_conv import deform_conv2d
from omma.ops.dynamic_conv import dynamic_conv2d
from omma.ops.focal_loss import (
    sigmoid_focal_loss,
    softmax_focal_loss,
)
from omma.ops.masked_conv import masked_conv2d
from omma.ops.masks import (
    decode_masks,
    encode_masks,
    mask_centres,
    masks_to_boxes,
    masks_to_polygons,
    pairwise_mask_iou,
)
from omma.ops.matrix_nms import matrix_nms
from omma.ops.ms_deform_attn import ms_deform_attn
from omma.ops.nms import (
    batched_nms,
    nms,
)
from omma.ops.nms_match import nms_match
from omma.ops.nms_rotated import nms_rotated
from omma.ops.point_sample import (
    point_sample,
    simple_roi_align,
)
from omma.ops.ps_roi_align import ps_roi_align
from omma.ops.psa_mask import psa_mask
from omma.ops.roi_align import roi_align
from omma.ops.roi_align_rotated import roi_align_rotated
from omma.ops.roi_pool import roi_pool
from omma.ops.rotated_boxes import (
    box_iou_rotated,
    rotated_corners,
)
from omma.ops.soft_nms import soft_nms
from omma.ops.temporal_shift import (
    temporal_shift,
    tin_shift,
)
from omma.ops.windows import (
    window_mask,
    window_partition,
    window_reverse,
)

__all__ = [
    "batched_nms",
    "box_area",
    "box_centres",
    "box_iou_rotated",
    "carafe",
    "connected_components",
    "corner_pool",
    "criss_cross_attention",
    "decode_masks",
    "deform_conv2d",
    "dynamic_conv2d",
    "elementwise_ciou",
    "elementwise_diou",
    "elementwise_giou",
    "elementwise_iou",
    "encode_masks",
    "mask_centres",
    "masked_conv2d",
    "masks_to_boxes",
    "masks_to_polygons",
    "matrix_nms",
    "ms_deform_attn",
    "nms",
    "nms_match",
    "nms_rotated",
    "pairwise_ciou",
    "pairwise_diou",
    "pairwise_giou",
    "pairwise_iou",
    "pairwise_mask_iou",
    "point_sample",
    "ps_roi_align",
    "psa_mask",
    "rgb_to_lab",
    "roi_align",
    "roi_align_rotated",
    "roi_pool",
    "rotated_corners",
    "sigmoid_focal_loss",
    "simple_roi_align",
    "soft_nms",
    "softmax_focal_loss",
    "temporal_shift",
    "tin_shift",
    "window_mask",
    "window_partition",
    "window_reverse",
]

check_environment()
