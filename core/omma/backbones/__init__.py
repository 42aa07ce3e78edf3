"""Networks that turn an image into feature maps."""

from omma.backbones.base import Backbone
from omma.backbones.extras import ContextPlugin, Deform, Plugin
from omma.backbones.resnet import ResNet
from omma.backbones.timm import TimmBackbone

__all__ = ["Backbone", "ContextPlugin", "Deform", "Plugin", "ResNet", "TimmBackbone"]
