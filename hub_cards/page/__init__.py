"""A page to ask about a video: beside the endpoint, or as a Space."""
