"""Clips and skeletons with the classes of what is done in them."""
