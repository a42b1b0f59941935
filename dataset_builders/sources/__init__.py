"""Sources of rows: raw video, own files, published files, the rendered world."""
