"""Key points on Omma's core; its models follow."""
