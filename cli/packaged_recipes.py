"""Find the recipes that ship with the package by name, from any folder."""

import difflib
from importlib.resources import files
from pathlib import Path

from ..modeling.errors import InputError

RECIPES_DIR = Path(str(files("fourdthinker.recipes")))
_NO_TRAINING = "accelerate"  # its files are for `accelerate launch`


def recipe_names() -> list[str]:
    """Names of the recipes of training commands, e.g. `demo/dift` for `recipes/demo/dift.yaml`."""
    paths = (path.relative_to(RECIPES_DIR).with_suffix("") for path in RECIPES_DIR.rglob("*.yaml"))
    return sorted(path.as_posix() for path in paths if path.parts[0] != _NO_TRAINING)


def find_recipe(name: str) -> Path:
    """The file of a packaged recipe.

    Raises:
        InputError: If there is none of this name.
    """
    names = recipe_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"there is no recipe {name!r}: {hint}choose one of {', '.join(names)}, or give --config a file of your own"
        )
    return RECIPES_DIR / f"{name}.yaml"
