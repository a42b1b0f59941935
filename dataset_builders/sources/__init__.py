"""Where rows come from: raw video, published files, the rendered world."""
