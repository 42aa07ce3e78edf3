"""From a model to predictions on images, folders and videos."""

from omma.inference.predictor import Predictor, Result
from omma.inference.sources import Frame, FrameSource, open_source

__all__ = ["Frame", "FrameSource", "Predictor", "Result", "open_source"]
