"""The exception for invalid input of a user."""


class InputError(ValueError):
    """Invalid input: the message names the thing and the remedy in one line. Commands print it and exit with 2."""
