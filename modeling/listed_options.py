"""Read the options of a question from texts in which they are listed with their letters. Pure Python."""

import re
from collections.abc import Sequence

from .tokens import OPTION_LETTERS

_OPTION_LINE = re.compile(r"[(\[]?([A-J])[)\].:]{1,2}[ \t]*(\S.*)")
_OPTIONS_HEADING = re.compile(r"(?:answer )?(?:options|choices)\s?:?", re.IGNORECASE)
# The heading on the line of the first option: `Options: A. left`.
_HEADING_BEFORE_OPTION = re.compile(
    r"^((?:answer )?(?:options|choices)\s?:)[ \t]*(?=[(\[]?(?-i:A)[)\].:])", re.IGNORECASE | re.MULTILINE
)
_LETTER_ALONE = re.compile(r"[(\[]?([A-J])[)\].:]{1,2}")
_SEPARATOR = re.compile(r"[;；\n]")


def split_options(text: str) -> tuple[str, list[str], str]:
    r"""Take a question apart whose options are listed in it: `A. left` and `(B) right` on lines of their own, or
    `A: left; B: right` on one.

    Returns:
        `tuple[str, list[str], str]`: The question; the options, none if there are not two lines from A on; and the
        words after them, which mostly say how to answer, as our own prompt does.

    Example:

    ```python
    >>> split_options("Which way?\nA. left\nB. right\nAnswer with the letter.")
    ('Which way?', ['left', 'right'], 'Answer with the letter.')

    ```
    """
    whole, text = text, _HEADING_BEFORE_OPTION.sub(r"\1\n", text)
    lines = [line.strip() for line in text.splitlines()]
    options: list[str] = []
    first = last = 0
    for number, line in enumerate(lines):
        match = _OPTION_LINE.fullmatch(line)
        letter, option = (match[1], match[2]) if match else ("", "")
        if letter and letter == OPTION_LETTERS[len(options) : len(options) + 1]:
            first, last = first if options else number, number
            options.append(option)
        elif line and len(options) >= 2:
            break
        elif line:
            first, last, options = number, number, [option] if letter == "A" else []
    if len(options) < 2:
        in_one_line = ((number, split_option_string(line)) for number, line in enumerate(lines))
        first, options = next((found for found in in_one_line if len(found[1]) >= 2), (0, []))
        last = first
    if len(options) < 2:
        return whole, [], ""
    before = text.splitlines()[:first]
    while before and (not before[-1].strip() or _OPTIONS_HEADING.fullmatch(before[-1].strip())):
        before.pop()
    question, after = "\n".join(before).strip(), "\n".join(text.splitlines()[last + 1 :]).strip()
    return (question, options, after) if question else (after, options, "")


def drop_letters(options: Sequence[str | None]) -> list[str | None]:
    """Remove the letters of options if each has that of its place: `A. left`, `B. right`."""
    matches = [_OPTION_LINE.fullmatch((option or "").strip()) for option in options]
    if all(match and match[1] == letter for match, letter in zip(matches, OPTION_LETTERS, strict=False)):
        return [match[2] for match in matches if match]
    return list(options)


def split_option_string(text: str) -> list[str]:
    """The texts of options that are written in one string: `A: left;B: right;`.

    A separator too many is ignored; one inside an option's text stays there. A text that does not begin with option A
    lists none.

    Example:

    ```python
    >>> split_option_string("A: left; B: right, then up;")
    ['left', 'right, then up']

    ```
    """
    options: list[str] = []
    for piece in map(str.strip, _SEPARATOR.split(text)):
        match = _OPTION_LINE.fullmatch(piece) or _LETTER_ALONE.fullmatch(piece)
        if match and match[1] == OPTION_LETTERS[len(options) : len(options) + 1]:
            options.append(match[2] if match.re is _OPTION_LINE else "")
        elif piece and not options:
            return []
        elif piece:
            options[-1] = f"{options[-1]}; {piece}"
    return options
