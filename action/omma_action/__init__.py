"""What people do in clips and skeletons, on Omma's core."""
