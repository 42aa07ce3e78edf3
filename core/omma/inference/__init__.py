"""From a model, or several in a chain, to predictions on images, folders and videos."""

from omma.inference.box_feed import BoxFeed
from omma.inference.box_file import BoxFile
from omma.inference.chain import Chain, Opening, Stage
from omma.inference.clip_feed import ClipFeed
from omma.inference.keypoint_nms import KeypointNMS
from omma.inference.predictor import Predictor
from omma.inference.results import Result, Seen, Span
from omma.inference.smoothing import Smoothing
from omma.inference.sources import Frame, FrameSource, open_source
from omma.inference.timeline import Doing, timeline
from omma.inference.tracking import Tracking

__all__ = [
    "BoxFeed",
    "BoxFile",
    "Chain",
    "ClipFeed",
    "Doing",
    "Frame",
    "FrameSource",
    "KeypointNMS",
    "Opening",
    "Predictor",
    "Result",
    "Seen",
    "Smoothing",
    "Span",
    "Stage",
    "Tracking",
    "open_source",
    "timeline",
]
