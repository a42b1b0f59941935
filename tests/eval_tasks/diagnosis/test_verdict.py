"""What is concluded from which comparisons."""

import pytest

from fourdthinker.eval_tasks.diagnosis.controls import CONTROLS
from fourdthinker.eval_tasks.diagnosis.verdict import conclude

EQUAL = {"change": 0.0, "change_interval": [-0.02, 0.02], "p_corrected": 1.0}
OPEN = {"change": -0.03, "change_interval": [-0.08, 0.02], "p_corrected": 0.6}
LOST = {"change": -0.3, "change_interval": [-0.4, -0.2], "p_corrected": 1e-6}
GAINED = {"change": 0.2, "change_interval": [0.1, 0.3], "p_corrected": 1e-3}
CONTENT = ("zero", "noise", "mean", "pad")


def comparisons(**found):
    return {name: found.get(name, EQUAL) for name in CONTROLS}


@pytest.mark.parametrize(
    ("found", "name"),
    [
        ({}, "none"),
        ({"half": LOST, "double": LOST, "oracle": GAINED, "blind": LOST}, "none"),
        ({"other": LOST, "zero": LOST}, "carry"),
        ({"other": LOST, **dict.fromkeys(CONTENT, LOST), "markers": LOST, "forbidden": LOST}, "carry"),
        ({"forbidden": LOST}, "markers"),
        ({"forbidden": LOST, "markers": LOST}, "positions"),
        ({"other": LOST}, "mislead"),
        ({"noise": LOST}, "any"),
        ({"noise": LOST, "other": OPEN}, "unknown"),
        ({"zero": OPEN}, "unknown"),
        ({"forbidden": LOST, "zero": OPEN}, "unknown"),
        ({"forbidden": LOST, "markers": OPEN}, "unknown"),
        ({"forbidden": OPEN}, "unknown"),
        ({"zero": GAINED, "forbidden": GAINED}, "harm"),
    ],
)
def test_each_pattern_has_its_verdict(found, name):
    assert conclude(comparisons(**found), blind_spot=0.1).name == name


def test_few_questions_name_nothing_whatever_was_found():
    lost = comparisons(**dict.fromkeys(CONTROLS, LOST))
    for blind_spot in (0.9, None):
        verdict = conclude(lost, blind_spot)
        assert verdict.sentence == "too few questions to tell"
    assert conclude(lost, 0.5).sentence == "the latents carry the answer"


def test_answers_without_a_block_have_a_verdict_of_their_own():
    assert conclude(comparisons(zero=LOST), 0.1, activation_rate=0.0).name == "empty"
    assert (
        conclude({}, 0.1, activation_rate=0.0).sentence == "no answer opened a latent block, so nothing was replaced"
    )
    assert conclude(comparisons(), 0.1, activation_rate=0.01).name == "none"


def test_the_sentence_names_the_margin():
    assert conclude(comparisons(), 0.1).sentence == "no effect of 4 points or more"
    assert conclude(comparisons(), 0.1, margin=0.025).sentence == "no effect of 2.5 points or more"
    assert conclude(comparisons(), 0.1, margin=0.01).name == "unknown"


def test_controls_that_did_not_run_are_named():
    some = {name: numbers for name, numbers in comparisons().items() if name not in ("noise", "markers")}
    assert "noise, markers did not run" in conclude(some, 0.1).reason
