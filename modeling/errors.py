"""The one exception for what a user's input can cause."""


class InputError(ValueError):
    """Bad input, told in one line that names the thing and the remedy. Commands print it and exit with code 2."""
