"""Camera poses and the motions that follow from them."""
