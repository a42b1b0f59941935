"""The rendered world."""

from .world import World, WorldClip

__all__ = ["World", "WorldClip"]
