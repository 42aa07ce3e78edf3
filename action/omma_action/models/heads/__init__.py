"""Heads that more than one model uses."""
