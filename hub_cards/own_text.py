"""Tell a generated card from one that somebody wrote, and keep what was added to a generated one."""

from ..dataset_builders.gates.report import CARD_END as END

MARKER = "<!-- Written by fourdthinker from the files beside it. Text of your own goes below the last line. -->"
# Of a card with values that no file holds, which would be lost if it were written anew.
GIVEN_MARKER = "<!-- Written by fourdthinker from the files beside it and from what its caller gave. -->"


def is_generated(text: str) -> bool:
    """Whether this package has written a card, so that it may be written anew."""
    return MARKER in text


def keep_own_text(card: str, before: str | None) -> str:
    """A new card, with what stood below the last line of the one before it.

    Args:
        card (`str`): The new one.
        before (`str`, *optional*): The one that it replaces.
    """
    own = before.partition(END)[2].strip("\n") if before else ""
    return f"{card.rstrip()}\n\n{own}\n" if own else card
