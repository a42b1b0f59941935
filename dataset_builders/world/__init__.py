"""The rendered world."""

from .renderer import World, WorldClip

__all__ = ["World", "WorldClip"]
