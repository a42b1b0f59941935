"""4DRL: GRPO on completions that think in latents."""
