"""Models of action recognition, one file each, and what several of them are made of."""
