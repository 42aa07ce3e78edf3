"""Key point models: one file per published model."""
