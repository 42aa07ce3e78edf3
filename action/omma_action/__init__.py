"""Action recognition on Omma's core; its models follow."""
