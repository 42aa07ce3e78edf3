"""Semantic segmentation on Omma's core; its models follow."""
