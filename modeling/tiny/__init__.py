"""Tiny models of each family, and the two that ship with the package."""
