"""From key points to what a network learns, and back."""

from omma_pose.codecs.base import Codec
from omma_pose.codecs.heatmap import HeatmapCodec, MSRAHeatmap, UDPHeatmap
from omma_pose.codecs.megvii import MegviiHeatmap
from omma_pose.codecs.regression import IntegralRegressionLabel, RegressionLabel
from omma_pose.codecs.simcc import SimCCLabel

__all__ = [
    "Codec",
    "HeatmapCodec",
    "IntegralRegressionLabel",
    "MSRAHeatmap",
    "MegviiHeatmap",
    "RegressionLabel",
    "SimCCLabel",
    "UDPHeatmap",
]
