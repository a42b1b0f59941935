"""Rows about the part of the image in which an object will be: balanced, true, and the same every time."""

import json
from collections import Counter
from itertools import islice

import numpy as np
import pytest

pytest.importorskip("pybullet", reason="the rendered world needs the world extra")
pytest.importorskip("cv2", reason="overlays need the data extra")

from fourdthinker.dataset_builders.sources.world_places import place_rows  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402
from fourdthinker.modeling.tokens import OPTION_LETTERS  # noqa: E402


@pytest.fixture(scope="module")
def rows():
    return list(place_rows("test", 32, answer_form="text"))


def answers(rows):
    return [row["options"][OPTION_LETTERS.index(row["answer"])] for row in rows]


def test_options_do_not_tell_the_place(rows):
    asked = Counter((place, *sorted(row["options"])) for place, row in zip(answers(rows), rows, strict=True))
    # Sixteen pairs of a place and the options around it, each as often.
    assert len(asked) == 16 and set(asked.values()) == {2}
    assert len({row["id"] for row in rows}) == 32


def test_the_imagery_shows_the_object_where_the_answer_says(rows):
    for row, answer in zip(rows, answers(rows), strict=True):
        # Nothing behind the block but the answer, in words.
        assert row["response"].endswith(f" at 5.0 s <output_image>.</think><answer>{answer}</answer>")
        assert len(row["frames"]) == 8 and row["imagery_timestamps"] == [5.0] and row["timestamps"][-1] == 3.5
        red = np.asarray(row["imagery"][0]).astype(int)
        facts = json.loads(row["facts"])
        painted = (red == (255, 0, 0)).all(-1).nonzero()
        for place, outline in zip((facts["row"], facts["column"]), painted, strict=True):
            assert outline.min() - 3 <= 56 * place <= outline.max() + 3
        level, side = int(3 * facts["row"]), int(3 * facts["column"])
        assert answer == f"{('upper', 'central', 'lower')[level]} {('left', 'middle', 'right')[side]}"


@pytest.mark.medium
def test_rows_are_the_same_again_and_others_of_another_seed_or_split(rows):
    again = list(islice(place_rows("test", 32, answer_form="text"), 4))
    assert [row["id"] for row in again] == [row["id"] for row in rows[:4]]
    assert all(np.array_equal(a["frames"][0], b["frames"][0]) for a, b in zip(again, rows, strict=False))
    ahead = list(islice(place_rows("test", 32, workers=2, answer_form="text"), 12))
    assert [row["id"] for row in ahead] == [row["id"] for row in rows[:12]], "processes render other clips ahead"
    assert all(np.array_equal(a["imagery"][0], b["imagery"][0]) for a, b in zip(ahead, rows, strict=False))
    others = [next(place_rows(split, 32, seed))["id"] for split, seed in (("test", 1), ("train", 0), ("train", 1))]
    assert len({rows[0]["id"], *others}) == 4


def test_responses_answer_with_the_letter_by_default():
    row = next(place_rows("test", 1))
    right = row["options"][OPTION_LETTERS.index(row["answer"])]
    assert row["response"].endswith(f"<answer>{row['answer']}. {right}</answer>")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("validation", 1), "the splits 'train' and 'test'"),
        (("test", -1), "-1 questions"),
        (("test", 1, -1), "not for -1"),
    ],
)
def test_what_there_is_not_is_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        next(place_rows(*arguments))
