"""Which rewards a run pays, chosen by name."""

from collections.abc import Callable, Sequence
from functools import partial

from ...modeling.errors import InputError
from .answer_rewards import accuracy_reward, format_reward, spatiotemporal_reward
from .spatiotemporal import CENTER_COLUMNS

REWARDS = {reward.__name__: reward for reward in (accuracy_reward, format_reward, spatiotemporal_reward)}
PUBLISHED_REWARDS, PUBLISHED_REWARD_WEIGHTS = ("accuracy_reward", "format_reward"), (1.0, 0.2)
# The columns that a reward reads beside those that every row has.
_COLUMNS = {"spatiotemporal_reward": CENTER_COLUMNS}


def check_rewards(names: Sequence[str], weights: Sequence[float] | None) -> None:
    """See that every name is a reward's, and that each has its weight.

    Raises:
        InputError: If one is not, one comes twice, there is none, or there is another number of weights.
    """
    for name in names:
        if name not in REWARDS:
            raise InputError(f"rewards has {name!r}: choose from {', '.join(REWARDS)}")
    if not names or len(set(names)) < len(names):
        raise InputError(f"rewards is {list(names)}: name at least one, and each once")
    check_weights(names, weights)


def check_weights(names: Sequence[str], weights: Sequence[float] | None) -> None:
    """See that there are as many weights as rewards, if there are any."""
    if weights is not None and len(weights) != len(names):
        raise InputError(
            f"reward_weights {list(weights)} do not fit the rewards {', '.join(names)}: give one weight for each"
        )


def select_rewards(names: Sequence[str], center_scale: str = "metric") -> list[Callable]:
    """The reward functions of these names, the ST-reward with its scale."""
    scaled = {"spatiotemporal_reward": partial(spatiotemporal_reward, center_scale=center_scale)}
    return [scaled.get(name, REWARDS[name]) for name in names]


def reward_columns(names: Sequence[str]) -> list[str]:
    """The columns of rows that these rewards read, beside those that every row has."""
    return [column for name in names for column in _COLUMNS.get(name, ())]
