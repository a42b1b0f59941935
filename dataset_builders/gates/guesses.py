"""Guess answers without the video: small classifiers that are tested on clips they have not learned from."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import features
from .rows import FRAMES, Row

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_FOLDS = 5
_STRENGTH = {"options": 0.1, "question": 0.01, "frame": 0.1}  # inverse of the penalty; more inputs, more penalty
_TREES = 40
_RARE = 5  # answers that fewer rows have are not learned as such


class Guess(NamedTuple):
    """How often answers were guessed.

    Attributes:
        accuracy (`float`): Share of right guesses.
        chance (`float`): Mean of one over the number of options.
        interval (`tuple[float, float]`): 95 % of the accuracy; rows of one clip count as one observation.
        n (`int`): Rows.
        clips (`int`): Clips that they are of.
    """

    accuracy: float
    chance: float
    interval: tuple[float, float]
    n: int
    clips: int


def make_guesses(rows: Sequence[Row], seed: int) -> Iterator[tuple[str, Guess]]:
    """Guess from the options alone, from question and options, and from each of three single frames.

    Args:
        rows (`Sequence[Row]`): Rows of at least two clips.
        seed (`int`): Of folds, trees and ties.

    Yields:
        `tuple[str, Guess]`: What was seen, and how well that did.
    """
    from scipy.sparse import csr_array, hstack

    beside, alone = features.option_texts(rows), features.option_names(rows)
    yield "options alone", _judge(rows, _linear(rows, beside, _STRENGTH["options"], seed), seed)
    question_features = features.products(alone, features.question_words(rows), rows)
    all_features = csr_array(hstack([beside, question_features]))
    yield "question, options", _judge(rows, _linear(rows, all_features, _STRENGTH["question"], seed), seed)
    if not all(row.pictures for row in rows):
        return
    for number, name in enumerate(FRAMES):
        pixels = features.frame_pixels(rows, number)
        seen = features.products(alone, features.principal_parts(pixels), rows)
        by_option = _linear(rows, seen, _STRENGTH["frame"], seed)
        by_answer = _trees(rows, features.brightness(pixels), seed)
        both = [one + other for one, other in zip(by_option, by_answer, strict=True)]
        yield f"{name} frame", _judge(rows, both, seed)


def _linear(rows: Sequence[Row], options: "csr_array", strength: float, seed: int) -> list[np.ndarray]:
    """How likely each option of each row is right, by logistic regression over options."""
    from scipy.special import softmax
    from sklearn.linear_model import LogisticRegression

    sizes = [len(row.options) for row in rows]
    of_row, starts = np.repeat(np.arange(len(rows)), sizes), np.cumsum([0, *sizes])
    right = np.concatenate([np.arange(len(row.options)) == row.right for row in rows])

    def learn(train: np.ndarray, test: np.ndarray) -> Iterator[np.ndarray]:
        known = np.isin(of_row, train)
        model = LogisticRegression(C=strength, tol=1e-3, max_iter=200).fit(options[known], right[known])
        scores = model.decision_function(options)
        for place in test:
            yield softmax(scores[starts[place] : starts[place + 1]])

    if not options.shape[1]:
        return [np.full(len(row.options), 1 / len(row.options)) for row in rows]
    return _out_of_fold(rows, learn, seed)


def _trees(rows: Sequence[Row], seen: np.ndarray, seed: int) -> list[np.ndarray]:
    """The same by extremely randomised trees over the texts of right answers; rare texts score zero."""
    from sklearn.ensemble import ExtraTreesClassifier

    answers = [row.options[row.right] for row in rows]
    counts = Counter(answers)
    labels = np.array([text if counts[text] >= _RARE else "" for text in answers])

    def learn(train: np.ndarray, test: np.ndarray) -> Iterator[np.ndarray]:
        model = ExtraTreesClassifier(_TREES, random_state=seed).fit(seen[train], labels[train])
        columns = {text: column for column, text in enumerate(model.classes_) if text}
        for place, shares in zip(test, model.predict_proba(seen[test]), strict=True):
            offered = np.array([shares[columns[text]] if text in columns else 0.0 for text in rows[place].options])
            yield offered / (offered.sum() or 1.0)

    return _out_of_fold(rows, learn, seed)


def _out_of_fold(
    rows: Sequence[Row], learn: Callable[[np.ndarray, np.ndarray], Iterator[np.ndarray]], seed: int
) -> list[np.ndarray]:
    """Scores of every row by a model that has seen no row of its clip."""
    from sklearn import config_context
    from sklearn.model_selection import GroupKFold

    clips = np.array([row.clip for row in rows])
    folds = GroupKFold(min(_FOLDS, len(set(clips.tolist()))), shuffle=True, random_state=seed)
    scores: dict[int, np.ndarray] = {}
    with config_context(assume_finite=True, skip_parameter_validation=True):  # as long as fitting, for these few rows
        for train, test in folds.split(clips, groups=clips):
            scores |= zip(test.tolist(), learn(train, test), strict=True)
    return [scores[place] for place in range(len(rows))]


def _judge(rows: Sequence[Row], scores: Sequence[np.ndarray], seed: int) -> Guess:
    from scipy.stats import binomtest, t

    ties = np.random.default_rng(seed)
    picked = [int(np.argmax(row_scores + 1e-9 * ties.random(len(row_scores)))) for row_scores in scores]
    right = np.array([choice == row.right for choice, row in zip(picked, rows, strict=True)], dtype=float)
    accuracy, n = float(right.mean()), len(rows)
    _, clip = np.unique([row.clip for row in rows], return_inverse=True)
    clips = int(clip.max()) + 1
    # The sums of the clips' deviations say how much rows of one clip are right or wrong together.
    deviation = float(np.sqrt((np.bincount(clip, right - accuracy) ** 2).sum() * clips / max(clips - 1, 1))) / n
    half = float(t.ppf(0.975, max(clips - 1, 1))) * deviation
    wilson = binomtest(int(right.sum()), n).proportion_ci(method="wilson")
    interval = max(0.0, min(float(wilson.low), accuracy - half)), min(1.0, max(float(wilson.high), accuracy + half))
    chance = float(np.mean([1 / len(row.options) for row in rows]))
    return Guess(accuracy, chance, interval, n, clips)
