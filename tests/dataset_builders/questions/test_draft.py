"""Other wordings of a reasoning: what is true passes, what is not measured, or has changed places, does not."""

from dataclasses import replace

import pytest

pytest.importorskip("pycocotools", reason="masks need the data extra")
from fourdthinker.dataset_builders.questions.draft import Draft  # noqa: E402
from fourdthinker.dataset_builders.questions.evidence import Sight  # noqa: E402
from fourdthinker.modeling.errors import InputError  # noqa: E402

SIZE = (252, 196)


def see(*places, side=40.0):
    return tuple(
        Sight(float(number), (x, y), (x - 20, y - 20, x + 20, y + 20), side * 1.2**number, SIZE)
        for number, (x, y) in enumerate(places)
    )


# The camera pans left, then right: what stands still goes right, then left.
TURNS_ROUND = Draft(
    "From 0.0 s to 2.0 s I look at a part of the scene that stands still, first seen in the left part of the picture. "
    "I picture it at 0.0 s <output_image>, at 1.0 s <output_image> and at 2.0 s <output_image>. Its centre is at "
    "(60, 98), then (160, 98), then (70, 98); its box is [40, 78, 80, 118], then [140, 78, 180, 118], then [50, 78, "
    "90, 118]. As it stands still in the world, its shift of 100 pixels to the right shows that the camera turned "
    "left, then its shift of 90 pixels to the left shows that the camera turned right. The camera motion is first Pan "
    "Left, then Pan Right.",
    question="How does the camera move?",
    options=(
        *("first Pan Right, then Pan Left", "first Pan Left, then Pan Right"),
        *("first Tilt Up, then Tilt Down", "first Tilt Down, then Tilt Up"),
    ),
    answer="B",
    span=(0.0, 2.0),
    seconds=(0.0, 1.0, 2.0),
    sights=see((60, 98), (160, 98), (70, 98)),
    directions=("first Pan Left, then Pan Right",),
)
APPROACHES = Draft(
    "From 0.0 s to 1.0 s I look at the red kite. I picture it at 0.0 s <output_image> and at 1.0 s <output_image>. "
    "Its centre is at (60, 98), then (70, 98); its box is [40, 78, 80, 118], then [50, 78, 90, 118]. It grows to 1.20 "
    "times its size, as what comes nearer does. So the answer is Moving Toward the Camera.",
    question="Does the red kite come toward the camera?",
    options=("Moving Toward the Camera", "Moving Away from the Camera", "Keeping Its Distance", "Moving Left"),
    answer="A",
    span=(0.0, 1.0),
    seconds=(0.0, 1.0),
    sights=see((60, 98), (70, 98)),
    directions=("Moving Toward the Camera", "nearer"),
    names=("red kite",),
)


@pytest.mark.parametrize("draft", [TURNS_ROUND, APPROACHES], ids=["camera", "object"])
def test_the_template_passes_its_own_checks(draft):
    assert draft.respond(draft.reasoning).startswith("<think>From 0.0 s")


FREE_WORDINGS = {
    "camera": (
        TURNS_ROUND,
        "Between 0.0 s and 2.0 s something at rest is my guide: at 0.0 s <output_image> its centre is (60, 98), at "
        "1.0 s <output_image> it has reached (160, 98), a shift of 100 pixels to the right, so the camera rotates "
        "leftward; at 2.0 s <output_image> it sits at (70, 98). The camera motion is first Pan Left, then Pan Right.",
    ),
    "object": (
        APPROACHES,
        "I watch the red kite from 0.0 s to 1.0 s. Its box at 0.0 s <output_image> is [40, 78, 80, 118], and at "
        "1.0 s <output_image> it is [50, 78, 90, 118]: it looks larger, so it approaches. Hence the answer: Moving "
        "Toward the Camera.",
    ),
}


@pytest.mark.parametrize(("draft", "text"), FREE_WORDINGS.values(), ids=FREE_WORDINGS)
def test_a_free_wording_passes(draft, text):
    assert f"<think>{text}</think>" in draft.respond(text)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("camera turned left", "camera turned right", "another order"),
        ("(60, 98), then (160, 98)", "(160, 98), then (60, 98)", "another order"),
        ("100 pixels to the right", "90 pixels to the left", "another order"),
        ("at 1.0 s <output_image> and at 2.0 s", "at 2.0 s <output_image> and at 1.0 s", "in this order"),
        ("From 0.0 s to 2.0 s", "From 0.0 s to 3.0 s", "the time '3.0'"),
        ("then [50, 78, 90, 118]", "then [50, 78, 90, 119]", "the box"),
        ("100 pixels", "101 pixels", "the shift"),
        ("camera turned left", "camera tilted left", "'tilted'"),
        ("camera turned left", "camera zoomed, turned left", "'zoomed'"),
        ("camera turned left", "camera moved forward and turned left", "'forward'"),
        ("camera turned left", "camera did not stay and turned left", "'not'"),
        ("As it stands", "After three frames, as it stands", "'three'"),
        ("As it stands", "After 3 frames, as it stands", "says 3"),
        ("As it stands", "In the north it slowly sinks; as it stands", "'north'"),
        ("left part of the picture", "upper right part of the picture", "the place"),
        ("I picture it", "I **picture** it", "plain text"),
        ("I picture it", "I\npicture it", "plain text"),
        ("I picture it", "<output_image> I picture it", "imagery marks"),
        ("The camera motion is first Pan Left, then Pan Right.", "I stop here.", "'stop'"),
        ("first Pan Left, then Pan Right.", "clear.", "does not conclude"),
    ],
)
def test_what_is_not_so_is_refused(old, new, reason):
    assert old in TURNS_ROUND.reasoning
    with pytest.raises(InputError, match=reason):
        TURNS_ROUND.respond(TURNS_ROUND.reasoning.replace(old, new))


@pytest.mark.parametrize(
    ("gone", "reason"),
    [
        ([" and at 1.0 s <output_image>"], "in this order"),
        (["(60, 98), then ", "[40, 78, 80, 118], then "], "neither the centre"),
    ],
)
def test_what_is_left_out_is_refused(gone, reason):
    text = APPROACHES.reasoning
    for part in gone:
        text = text.replace(part, "")
    with pytest.raises(InputError, match=reason):
        APPROACHES.respond(text)


def test_an_end_of_the_span_is_not_left_out():
    draft = replace(APPROACHES, span=(0.0, 1.4), reasoning=APPROACHES.reasoning.replace("to 1.0 s", "to 1.4 s"))
    assert draft.respond(draft.reasoning)
    with pytest.raises(InputError, match="leaves out 1.4 s"):
        draft.respond(APPROACHES.reasoning)


def test_growth_may_be_claimed_as_it_is_measured():
    with pytest.raises(InputError, match="'shrinks'"):
        APPROACHES.respond(APPROACHES.reasoning.replace("It grows", "It shrinks, then grows"))
    shrinking = replace(APPROACHES, sights=APPROACHES.sights[::-1])
    with pytest.raises(InputError):
        shrinking.respond(APPROACHES.reasoning)


def test_words_of_a_name_claim_nothing():
    named = replace(
        APPROACHES, names=("left turn sign",), reasoning=APPROACHES.reasoning.replace("red kite", "left turn sign")
    )
    assert "left turn sign" in named.respond(named.reasoning)
