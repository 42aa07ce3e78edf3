"""Boxes and instance masks on Omma's core."""
