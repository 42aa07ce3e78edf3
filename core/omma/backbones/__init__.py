"""Networks that turn an image into feature maps."""

from omma.backbones.base import Backbone
from omma.backbones.beit import BEiT
from omma.backbones.convnext import ConvNeXt
from omma.backbones.cpm import CPM
from omma.backbones.cspdarknet import CSPDarknet, CSPNeXt
from omma.backbones.darknet import Darknet
from omma.backbones.detectors import DetectoRSResNet
from omma.backbones.efficientnet import EfficientNet
from omma.backbones.extras import ContextPlugin, Deform, Plugin, SqueezePlugin
from omma.backbones.hourglass import HourglassNet
from omma.backbones.hrformer import HRFormer
from omma.backbones.hrnet import HRNet
from omma.backbones.litehrnet import LiteHRNet
from omma.backbones.mit import MixVisionTransformer
from omma.backbones.mobilenet_v2 import MobileNetV2
from omma.backbones.mobilenet_v3 import MobileNetV3
from omma.backbones.mscan import MSCAN
from omma.backbones.mspn import MSPN
from omma.backbones.poolformer import PoolFormer
from omma.backbones.pvt import PyramidVisionTransformer, PyramidVisionTransformerV2
from omma.backbones.regnet import RegNetX
from omma.backbones.res2net import Res2Net
from omma.backbones.resnest import ResNeSt
from omma.backbones.resnet import ResNet, ResNetStage
from omma.backbones.rsn import RSN
from omma.backbones.scnet import SCNet
from omma.backbones.seresnet import SEResNet
from omma.backbones.shufflenet_v1 import ShuffleNetV1
from omma.backbones.shufflenet_v2 import ShuffleNetV2
from omma.backbones.ssd_vgg import SSDVGG
from omma.backbones.swin import SwinTransformer
from omma.backbones.timm import TimmBackbone
from omma.backbones.trident import TridentResNet
from omma.backbones.twins import PCPVT, SVT
from omma.backbones.vipnas import ViPNASMobileNetV3, ViPNASResNet
from omma.backbones.vit import VisionTransformer

__all__ = [
    "CPM",
    "MSCAN",
    "MSPN",
    "PCPVT",
    "RSN",
    "SSDVGG",
    "SVT",
    "BEiT",
    "Backbone",
    "CSPDarknet",
    "CSPNeXt",
    "ContextPlugin",
    "ConvNeXt",
    "Darknet",
    "Deform",
    "DetectoRSResNet",
    "EfficientNet",
    "HRFormer",
    "HRNet",
    "HourglassNet",
    "LiteHRNet",
    "MixVisionTransformer",
    "MobileNetV2",
    "MobileNetV3",
    "Plugin",
    "PoolFormer",
    "PyramidVisionTransformer",
    "PyramidVisionTransformerV2",
    "RegNetX",
    "Res2Net",
    "ResNeSt",
    "ResNet",
    "ResNetStage",
    "SCNet",
    "SEResNet",
    "ShuffleNetV1",
    "ShuffleNetV2",
    "SqueezePlugin",
    "SwinTransformer",
    "TimmBackbone",
    "TridentResNet",
    "ViPNASMobileNetV3",
    "ViPNASResNet",
    "VisionTransformer",
]
