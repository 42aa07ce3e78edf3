"""Heads: from feature maps to losses and predictions."""

from omma_detection.models.heads.bbox_head import BBoxHead
from omma_detection.models.heads.dense import DenseHead
from omma_detection.models.heads.mask_head import MaskHead
from omma_detection.models.heads.roi_extractor import RoIExtractor
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.heads.rpn_head import RPNHead

__all__ = ["BBoxHead", "DenseHead", "MaskHead", "RPNHead", "RoIExtractor", "RoIHead"]
