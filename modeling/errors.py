"""The one exception for what a user's input can cause."""


class InputError(ValueError):
    """Invalid input: the message names the thing and the remedy in one line. Commands print it and exit with 2."""
