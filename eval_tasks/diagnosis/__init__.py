"""Diagnose a checkpoint: whether its answers depend on its latents, and on what of them."""
