"""A page to look at a build: rows with their frames, masks, curves and texts."""
