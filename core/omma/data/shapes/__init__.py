"""The shapes world: a generated data set for every task, so that demos and tests download nothing."""

from omma.data.shapes.clips import ACTIONS
from omma.data.shapes.scene import CATEGORIES, FIGURE, THINGS
from omma.data.shapes.write import make_shapes

__all__ = ["ACTIONS", "CATEGORIES", "FIGURE", "THINGS", "make_shapes"]
