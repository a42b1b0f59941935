"""The controls of a diagnosis: what is decoded in the place of the model's own latents. Pure Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ...modeling.errors import InputError

# What a control changes: what the latents hold, the block around them, how many there are, or the input.
Kind = Literal["content", "structure", "size", "input"]


@dataclass(frozen=True)
class Control:
    """One way of answering the same questions, compared with the model's own.

    Attributes:
        name (`str`): Its name on the command line, in tables, charts and files.
        kind (`str`): What it changes.
        description (`str`): What is done, in a sentence.
    """

    name: str
    kind: Kind
    description: str


OWN = "own"
CONTROLS = {
    control.name: control
    for control in (
        Control("zero", "content", "Every latent is the zero vector."),
        Control("noise", "content", "Every latent is random, with the norm of the one it replaces."),
        Control("mean", "content", "Every latent is the mean of those at its place in a block."),
        Control("other", "content", "The latents are those of another row of the same task."),
        Control("pad", "content", "Every latent is the embedding of the pad token."),
        Control("markers", "structure", "A block is its start and its end, with no latent between."),
        Control("forbidden", "structure", "The model cannot open a block."),
        Control("half", "size", "A block has half as many latents, the model's own."),
        Control("double", "size", "A block has twice as many latents, the model's own."),
        Control("first", "size", "Every latent of a block is the first of that block."),
        Control("oracle", "size", "The latents are the embeddings of the row's imagery."),
        Control("blind", "input", "The question without its video; the latents are the model's own."),
        Control("reread", "input", "The model's words and latents up to its last block, encoded without the video."),
    )
}


# Names that other work has for some of them.
ALIASES = {"true": "oracle", "shuffled": "other"}


def choose_controls(names: str | None) -> list[str]:
    """The controls that a comma-separated list names, in the order of tables; all of them by default.

    Raises:
        InputError: If one is unknown.
    """
    if names is None:
        return list(CONTROLS)
    chosen = {ALIASES.get(name.strip(), name.strip()) for name in names.split(",")} - {OWN}
    if unknown := sorted(chosen - set(CONTROLS)):
        raise InputError(f"unknown control {unknown[0]!r}: choose from {', '.join(CONTROLS)}")
    return [name for name in CONTROLS if name in chosen]


def find_impossible(controls: Sequence[str], latent_size: int, has_imagery: bool) -> dict[str, str]:
    """The controls that a model or its questions cannot have, each with the reason.

    Args:
        controls (`Sequence[str]`): The chosen ones.
        latent_size (`int`): Latents in a block of the model.
        has_imagery (`bool`): Whether any row carries imagery.
    """
    reasons = {}
    if latent_size < 2:
        reasons |= dict.fromkeys(("half", "first"), "a block has one latent")
    if not has_imagery:
        reasons["oracle"] = "no row carries imagery"
    return {name: reason for name, reason in reasons.items() if name in controls}
