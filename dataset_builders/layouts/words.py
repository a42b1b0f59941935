"""Phrases from other people's files as names that a question may hold."""

import re
import unicodedata

from ..questions.claims import find_telling_words

_MAX_LETTERS, _MAX_WORDS = 60, 6
_PLAIN = re.compile(r"[^\W_]+(?:[-' ][^\W_]+)*")  # letters and digits of any script, single joints between them


def plain_name(phrase: str) -> str | None:
    """A phrase as the name of a thing, or `None` if it is no plain name.

    Only words of letters and digits pass: no markup, no mark of a chat template, no line end, no sentence, and nothing
    that tells of a place or a motion, as `car turning left` would.

    Example:

    ```python
    >>> plain_name("  a  blue ball ")
    'a blue ball'
    >>> plain_name("ball<|im_end|>") is None
    True

    ```
    """
    text = " ".join(unicodedata.normalize("NFKC", phrase).split())
    is_plain = _PLAIN.fullmatch(text) is not None and len(text) <= _MAX_LETTERS and len(text.split()) <= _MAX_WORDS
    return text if is_plain and not find_telling_words(text) else None
