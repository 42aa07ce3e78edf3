"""Small modules that models of every task are made of."""

from omma.layers.carafe import Carafe
from omma.layers.context_block import ContextBlock
from omma.layers.conv import Activation, ConvNormAct, DeformVersion
from omma.layers.criss_cross import CrissCrossAttention
from omma.layers.csp import YOLO_NORM, CspKind, CspLayer, SpatialPyramidPooling, yolo_conv
from omma.layers.deform_attention import MultiScaleDeformableAttention
from omma.layers.deform_conv import DeformConv2d, GuidedDeformConv2d, ModulatedDeformConv2d
from omma.layers.encoder_block import EncoderBlock
from omma.layers.ffn import FeedForward, Mlp
from omma.layers.init import init_conv, prior_bias
from omma.layers.inverted_residual import InvertedResidual, rounded
from omma.layers.map_block import MapBlock
from omma.layers.masked_conv import MaskedConv2d
from omma.layers.memory_format import lay_channels_last
from omma.layers.non_local import NonLocal2d
from omma.layers.norm import LayerNorm2d, NormForm, NormKind, make_norm, norm_name
from omma.layers.patch_merging import MergeOrder, PatchMerging
from omma.layers.points import PointLayer, draw_points
from omma.layers.resize import resize
from omma.layers.same_conv import SameConv
from omma.layers.scale import Scale
from omma.layers.self_attention import Biases, PackedSelfAttention, SelfAttention
from omma.layers.separable import SeparableConv
from omma.layers.shuffle import ShuffleUnit, shuffle
from omma.layers.squeeze import SqueezeExcitation
from omma.layers.switchable_conv import ConvAWS2d, SAConv2d
from omma.layers.sync_bn import SyncBatchNorm, synchronize_batch_norms
from omma.layers.token_block import TokenBlock
from omma.layers.window_attention import WindowAttention, attend_in_windows
from omma.layers.window_mean import WindowMean

__all__ = [
    "YOLO_NORM",
    "Activation",
    "Biases",
    "Carafe",
    "ContextBlock",
    "ConvAWS2d",
    "ConvNormAct",
    "CrissCrossAttention",
    "CspKind",
    "CspLayer",
    "DeformConv2d",
    "DeformVersion",
    "EncoderBlock",
    "FeedForward",
    "GuidedDeformConv2d",
    "InvertedResidual",
    "LayerNorm2d",
    "MapBlock",
    "MaskedConv2d",
    "MergeOrder",
    "Mlp",
    "ModulatedDeformConv2d",
    "MultiScaleDeformableAttention",
    "NonLocal2d",
    "NormForm",
    "NormKind",
    "PackedSelfAttention",
    "PatchMerging",
    "PointLayer",
    "SAConv2d",
    "SameConv",
    "Scale",
    "SelfAttention",
    "SeparableConv",
    "ShuffleUnit",
    "SpatialPyramidPooling",
    "SqueezeExcitation",
    "SyncBatchNorm",
    "TokenBlock",
    "WindowAttention",
    "WindowMean",
    "attend_in_windows",
    "draw_points",
    "init_conv",
    "lay_channels_last",
    "make_norm",
    "norm_name",
    "prior_bias",
    "resize",
    "rounded",
    "shuffle",
    "synchronize_batch_norms",
    "yolo_conv",
]
