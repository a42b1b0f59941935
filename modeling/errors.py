"""The exception for invalid input of a user, and the wording of one-line messages. Pure Python."""


class InputError(ValueError):
    """Invalid input: the message names the thing and the remedy in one line. Commands print it and exit with 2."""


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or the name of its class if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def to_one_line(text: str) -> str:
    """A text with its lines joined by spaces."""
    return " ".join(text.splitlines())


def count_noun(count: int, noun: str) -> str:
    """A number with its noun: `1 row`, `2 rows`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
