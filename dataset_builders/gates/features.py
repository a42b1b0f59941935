"""What a guess may see of a question, as numbers for each option: its text, the question's words, one frame."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .rows import SIDE, Row

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"[^\W_]+")
_RARE = 5  # names that fewer options or questions have tell nothing over rows of other clips
_QUESTION_WORDS = 150
_PIXEL_PARTS = 24  # principal components of the small pictures


def option_texts(rows: Sequence[Row]) -> "csr_array":
    """Features of each option, beside the others that are offered: one line an option, row after row.

    Its text, words and letter, which others it stands beside, how long it is, where its number lies among the others'
    and how many of its words they have.
    """
    return _table([names for row in rows for names in _describe_options(row)])


def option_names(rows: Sequence[Row]) -> "csr_array":
    """Features of each option by itself, to be multiplied by what is seen: its text, words and number."""
    return _table([_describe_option(text, row.options) for row in rows for text in row.options])


def question_words(rows: Sequence[Row]) -> np.ndarray:
    """Which words and pairs of words a question has, one line a question: floats of shape `(rows, words)`."""
    phrase_lists = [_phrases(row.question) for row in rows]
    counts = Counter(phrase for phrases in phrase_lists for phrase in phrases)
    some = [phrase for phrase, count in counts.most_common() if _RARE <= count < len(rows)]
    kept = {phrase: place for place, phrase in enumerate(sorted(some[:_QUESTION_WORDS]))}
    table = np.zeros((len(rows), len(kept)))
    for line, phrases in zip(table, phrase_lists, strict=True):
        line[[kept[phrase] for phrase in phrases if phrase in kept]] = 1
    return table


def frame_pixels(rows: Sequence[Row], frame: int) -> np.ndarray:
    """A frame as small pictures: floats of shape `(rows, SIDE, SIDE, 3)`, 0 to 1.

    Args:
        rows (`Sequence[Row]`): With pictures.
        frame (`int`): Which of `rows.FRAMES`.
    """
    return np.stack([row.pictures[frame].pixels / 255 for row in rows])


def brightness(pixels: np.ndarray) -> np.ndarray:
    """Pixels without colour, one line a picture: `(rows, SIDE * SIDE)`."""
    return pixels.mean(axis=3).reshape(len(pixels), -1)


def principal_parts(pixels: np.ndarray) -> np.ndarray:
    """The principal components of pictures in half their size, in units of their own deviation, one line a picture."""
    from scipy.linalg import eigh

    half = pixels.reshape(len(pixels), SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(2, 4)).reshape(len(pixels), -1)
    centred = half - half.mean(axis=0)
    size = centred.shape[1]
    values, parts = eigh(centred.T @ centred, subset_by_index=[size - _PIXEL_PARTS, size - 1])
    kept = parts.T[values > 1e-9 * max(values[-1], 1e-9)]
    scores = centred @ kept.T
    return scores / np.maximum(scores.std(axis=0), 1e-9)


def products(options: "csr_array", seen: np.ndarray, rows: Sequence[Row]) -> "csr_array":
    """Every feature of an option times every number of what is seen of its question."""
    from scipy.sparse import csr_array, hstack

    of_row = np.repeat(np.arange(len(rows)), [len(row.options) for row in rows])
    columns = [options.multiply(csr_array(column[of_row, None])) for column in seen.T if column.any()]
    return csr_array(hstack(columns)) if columns else csr_array((options.shape[0], 0))


def _describe_options(row: Row) -> Iterable[dict[str, float]]:
    numbers = [_number(text) for text in row.options]
    known = sorted({number for number in numbers if number is not None})
    words = [set(_phrases(text)) for text in row.options]
    lengths = [len(text) for text in row.options]
    for place, text in enumerate(row.options):
        features = _describe_option(text, row.options)
        features[f"letter {place}"] = 1.0
        others = [other for other in range(len(row.options)) if other != place]
        features |= {f"{text} beside {row.options[other]}": 1.0 for other in others}
        features |= {f"beside {row.options[other]}": 1.0 for other in others}
        number = numbers[place]
        if number is not None and len(known) > 1:
            features[f"place {known.index(number)} of {len(known)}"] = 1.0
            features["round"] = float(number == round(number))
        features["shared words"] = float(np.mean([len(words[place] & words[other]) for other in others]))
        features["length rank"] = float(np.mean([lengths[place] > lengths[other] for other in others]))
        yield features


def _describe_option(text: str, options: Sequence[str]) -> dict[str, float]:
    features = {f"text {text}": 1.0, **{f"word {word}": 1.0 for word in _phrases(text)}}
    number = _number(text)
    if number is not None:
        numbers = [value for value in map(_number, options) if value is not None]
        features["number"] = (number - float(np.mean(numbers))) / (float(np.std(numbers)) or 1.0)
    return features


def _phrases(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [*words, *(f"{one} {two}" for one, two in zip(words, words[1:], strict=False))]


def _number(text: str) -> float | None:
    found = _NUMBER.search(text)
    return float(found[0]) if found else None


def _table(described: Sequence[dict[str, float]]) -> "csr_array":
    from scipy.sparse import csr_array

    counts = Counter(name for features in described for name in features)
    kept = {name: place for place, name in enumerate(sorted(name for name, count in counts.items() if count >= _RARE))}
    found = [
        (line, kept[name], value)
        for line, features in enumerate(described)
        for name, value in features.items()
        if name in kept
    ]
    lines, places, values = zip(*found, strict=True) if found else ((), (), ())
    return csr_array((values, (lines, places)), shape=(len(described), len(kept)), dtype=float)
