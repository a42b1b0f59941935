"""Visualize where latents point."""
