"""What decode heads share."""
