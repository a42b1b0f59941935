"""Other people's 4D data: clips with camera poses, depth and masks in the layouts of their tools and data sets."""
