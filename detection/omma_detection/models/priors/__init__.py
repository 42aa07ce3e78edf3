"""Where a dense head looks: anchors and points."""

from omma_detection.models.priors.anchors import AnchorGenerator
from omma_detection.models.priors.cells import CellAnchors
from omma_detection.models.priors.points import PointGenerator

__all__ = ["AnchorGenerator", "CellAnchors", "PointGenerator"]
