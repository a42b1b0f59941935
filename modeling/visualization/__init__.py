"""Pictures of where latents point."""
