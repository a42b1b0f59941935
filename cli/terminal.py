"""Keep the terminal quiet: hide warnings and progress bars of libraries unless `--verbose` is set."""

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

# Inherited by the commands that a command starts.
_VERBOSE = "FOURDTHINKER_VERBOSE"
# Read by libraries when they are imported, and by the processes that they start. What a user has set stays.
_QUIET = {
    "ACCELERATE_LOG_LEVEL": "ERROR",
    "DATASETS_VERBOSITY": "error",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
    "TRANSFORMERS_VERBOSITY": "error",
}
_OWN = "fourdthinker"
_LIBRARIES = ("accelerate", "datasets", "huggingface_hub", "peft", "torch", "transformers", "trl")


@contextmanager
def quiet_libraries(verbose: bool) -> Iterator[None]:
    """Silence warnings of libraries and their bars for loading and saving while a command runs.

    It begins before torch and transformers are imported, because they read these variables once.

    Args:
        verbose (`bool`): Leave everything as the libraries have it.
    """
    if verbose or os.environ.get(_VERBOSE):
        with _environment({_VERBOSE: "1"}):
            yield
        return
    levels = {"": logging.ERROR, _OWN: logging.WARNING, **dict.fromkeys(_LIBRARIES, logging.ERROR)}
    before = {name: logging.getLogger(name).level for name in levels}
    with _environment(_QUIET), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        try:
            yield
        finally:
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set, and remove them again."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
