"""Networks that turn an image into feature maps."""

from omma.backbones.base import Backbone
from omma.backbones.extras import ContextPlugin, Deform, Plugin
from omma.backbones.hrnet import HRNet
from omma.backbones.regnet import RegNetX
from omma.backbones.res2net import Res2Net
from omma.backbones.resnest import ResNeSt
from omma.backbones.resnet import ResNet, ResNetStage
from omma.backbones.timm import TimmBackbone
from omma.backbones.trident import TridentResNet

__all__ = [
    "Backbone",
    "ContextPlugin",
    "Deform",
    "HRNet",
    "Plugin",
    "RegNetX",
    "Res2Net",
    "ResNeSt",
    "ResNet",
    "ResNetStage",
    "TimmBackbone",
    "TridentResNet",
]
