"""Changes of clips and skeletons that images don't know."""
