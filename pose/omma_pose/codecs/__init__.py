"""From key points to what a network learns, and back."""

from omma_pose.codecs.base import Codec
from omma_pose.codecs.heatmap import HeatmapCodec, MSRAHeatmap, UDPHeatmap

__all__ = ["Codec", "HeatmapCodec", "MSRAHeatmap", "UDPHeatmap"]
