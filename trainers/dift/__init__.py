"""DIFT: supervised training in which a model learns to imagine (arXiv 2605.05997)."""
