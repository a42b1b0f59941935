"""Rewards: functions with TRL's signature, `completions, **columns -> list[float]`."""

from .answer_rewards import accuracy_reward, format_reward
from .spatiotemporal import spatiotemporal_reward

__all__ = ["accuracy_reward", "format_reward", "spatiotemporal_reward"]
