"""Segmentation models, one file each; ``segmentor`` is the frame that most of them fill."""
