"""What heads of key point models share."""
