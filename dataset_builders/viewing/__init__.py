"""Clips of a build as recordings for the viewer of rerun."""
