"""The name of the key-value cache: `cache` since transformers 5.24, `past_key_values` before.

transformers itself uses its own name everywhere; our forwards and `generate` take either name with every version. This
file is the only one that knows both.
"""

from dataclasses import fields
from typing import Any

from transformers.modeling_outputs import CausalLMOutputWithPast

from .errors import InputError

CACHE_NAMES = ("cache", "past_key_values")
# The argument of the stock classes' methods and the field of their outputs in the installed transformers.
CACHE_NAME = "cache" if any(field.name == "cache" for field in fields(CausalLMOutputWithPast)) else "past_key_values"


def pick_cache(cache: Any, past_key_values: Any) -> Any:
    """The one cache that was passed, under whichever name.

    Raises:
        InputError: If both are given.
    """
    if cache is not None and past_key_values is not None:
        raise InputError("cache and past_key_values are two names of one argument: give one of them")
    return past_key_values if cache is None else cache


def rename_cache(arguments: dict[str, Any]) -> dict[str, Any]:
    """`arguments` with the cache, if there is one, under the name that the installed transformers uses.

    Raises:
        InputError: If it is given under both names.
    """
    cache = pick_cache(*(arguments.get(name) for name in CACHE_NAMES))
    renamed = {name: value for name, value in arguments.items() if name not in CACHE_NAMES}
    return renamed if cache is None else {**renamed, CACHE_NAME: cache}
