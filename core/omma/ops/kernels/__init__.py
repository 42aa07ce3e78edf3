"""Triton kernels, one module per operator; each is imported when its operator first runs it."""
