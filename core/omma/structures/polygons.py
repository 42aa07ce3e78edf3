"""Instance masks as outlines."""

from __future__ import annotations


class Polygons:
    """Outlines of N instances."""
