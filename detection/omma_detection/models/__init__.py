"""Detectors: one file per published model; what they share is in the subpackages."""
