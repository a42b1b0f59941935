"""The rendered world: clips with exact poses, masks and depth, rendered on a CPU."""

from .renderer import World, WorldClip

__all__ = ["World", "WorldClip"]
