"""Key points of people, animals and things, on Omma's core."""
