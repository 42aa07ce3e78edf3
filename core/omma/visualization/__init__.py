"""Pictures: drawing on images, sheets of them, SVG charts, the run's report."""

from omma.visualization.charts import heat_map, line_chart
from omma.visualization.draw import draw_boxes, draw_classes, draw_masks, draw_ranking, draw_title
from omma.visualization.draw_skeletons import draw_skeletons
from omma.visualization.findings import Findings, read_findings, write_findings
from omma.visualization.images import encode_rgb, read_rgb, write_rgb
from omma.visualization.palette import class_color
from omma.visualization.report import write_report
from omma.visualization.sheet import contact_sheet

__all__ = [
    "Findings",
    "class_color",
    "contact_sheet",
    "draw_boxes",
    "draw_classes",
    "draw_masks",
    "draw_ranking",
    "draw_skeletons",
    "draw_title",
    "encode_rgb",
    "heat_map",
    "line_chart",
    "read_findings",
    "read_rgb",
    "write_findings",
    "write_report",
    "write_rgb",
]
