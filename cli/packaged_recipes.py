"""Find the recipes that ship with the package by name, from any folder."""

import difflib
from importlib.resources import files
from pathlib import Path

from ..modeling.errors import InputError
from ..modeling.row_rules import Stage

RECIPES_DIR = Path(str(files("fourdthinker.recipes")))
_NO_TRAINING = "accelerate"  # its files are for `accelerate launch`


def recipe_names() -> list[str]:
    """Names of the recipes of training commands, e.g. `demo/dift` for `recipes/demo/dift.yaml`."""
    paths = (path.relative_to(RECIPES_DIR).with_suffix("") for path in RECIPES_DIR.rglob("*.yaml"))
    return sorted(path.as_posix() for path in paths if path.parts[0] != _NO_TRAINING)


def recipe_stage(name: str) -> Stage:
    """The training command that a packaged recipe is for; `grpo` is in the names of those of 4DRL."""
    return "grpo" if "grpo" in name.split("/") else "dift"


def find_recipe(name: str, stage: Stage | None = None) -> Path:
    """The file of a packaged recipe.

    Args:
        name (`str`): Its name, e.g. `demo/dift`.
        stage (`str`, *optional*): The training command that is to read it, `"dift"` or `"grpo"`.

    Raises:
        InputError: If there is none of this name, or it is for another command.
    """
    names = recipe_names()
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(
            f"there is no recipe {name!r}: {hint}choose one of {', '.join(names)}, or give --config a file of your own"
        )
    if stage not in (None, recipe_stage(name)):
        raise InputError(
            f"the recipe {name} belongs to `{recipe_stage(name)}`, not to `{stage}`: run "
            f"`fourdthinker {recipe_stage(name)} --recipe {name}`"
        )
    return RECIPES_DIR / f"{name}.yaml"
