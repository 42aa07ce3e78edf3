"""One class for each pixel, on Omma's core."""
