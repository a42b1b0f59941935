"""Rewards on hostile completions: what earns, and everything that must not."""

import pytest

from fourdthinker.modeling.errors import InputError
from fourdthinker.trainers.rewards.answer_rewards import accuracy_reward, format_reward, spatiotemporal_reward

OPTIONS = ["Pan Left", "Pan Right", "Tilt Up", "Dolly In"]  # the right one is B
BLOCK = "<|latent_start|>" + "<|latent_pad|>" * 4 + "<|latent_end|>"
GOOD = "<think>It moves.</think><answer>{}</answer>"

# completion, accuracy, format
TABLE = [
    # what earns both
    (GOOD.format("B. Pan Right"), 1, 1),
    (GOOD.format("B"), 1, 1),
    (GOOD.format(" B "), 1, 1),
    (GOOD.format("b."), 1, 1),
    (GOOD.format("(B)"), 1, 1),
    (GOOD.format("Ｂ"), 1, 1),
    (GOOD.format("Pan Right"), 1, 1),
    (GOOD.format("pan right."), 1, 1),
    ("<think>It moves.</think>\n<answer>B</answer>", 1, 1),
    ("  \n<think>\nIt moves.\n</think>\n\n<answer>\nB. Pan Right\n</answer>\n", 1, 1),
    (f"<think>From {BLOCK} to {BLOCK} it moves.</think><answer>B</answer>", 1, 1),
    (f"<think>{BLOCK}{BLOCK} so it moves</think><answer>B</answer>", 1, 1),
    ("<think>Options A, C and D are wrong.</think><answer>B</answer>", 1, 1),
    ("<think>画面向右移动</think><answer>B</answer>", 1, 1),
    # well formed, wrong answer
    (GOOD.format("A"), 0, 1),
    (GOOD.format("A. Pan Right"), 0, 1),
    (GOOD.format("Pan Left"), 0, 1),
    (GOOD.format("E"), 0, 1),
    (GOOD.format("A or B"), 0, 1),
    (GOOD.format("A B C D"), 0, 1),
    (GOOD.format("B, or maybe C"), 0, 1),
    (GOOD.format("Based on the video, C"), 0, 1),
    (GOOD.format("Because it moves: D"), 0, 1),
    (GOOD.format("Both"), 0, 1),
    (GOOD.format("East"), 0, 1),
    (GOOD.format("not B"), 0, 1),
    (GOOD.format("BBBB"), 0, 1),
    (GOOD.format("В"), 0, 1),  # a Cyrillic letter
    (GOOD.format("1e999"), 0, 1),
    (GOOD.format("9" * 5000), 0, 1),
    (GOOD.format("B. Pan Left"), 0, 1),
    (GOOD.format("Pan Left Pan Right"), 0, 1),
    (GOOD.format("__import__('os').abort()"), 0, 1),
    # an answer, in another format
    ("<answer>B</answer>", 1, 0),
    ("It moves right.<answer>B</answer>", 1, 0),
    ("<think></think><answer>B</answer>", 1, 0),
    ("<think> \n\t</think><answer>B</answer>", 1, 0),
    ("<think>\u200b\u200d</think><answer>B</answer>", 1, 0),
    ("<think>... !!</think><answer>B</answer>", 1, 0),
    (f"<think>{BLOCK}</think><answer>B</answer>", 1, 0),
    ("<think>a</think><think>b</think><answer>B</answer>", 1, 0),
    ("<think>a</think> so: <answer>B</answer>", 1, 0),
    ("Sure! <think>a</think><answer>B</answer>", 1, 0),
    ("</think><answer>B</answer>", 1, 0),
    (f"{BLOCK}<think>a</think><answer>B</answer>", 1, 0),
    (f"<think>a</think>{BLOCK}<answer>B</answer>", 1, 0),
    (f"<think>a</think><answer>{BLOCK}B</answer>", 1, 0),
    (f"<think>a</think><answer>B</answer>{BLOCK}", 1, 0),
    ("<think>a <|latent_pad|> b</think><answer>B</answer>", 1, 0),
    ("<think>a <|latent_end|> b</think><answer>B</answer>", 1, 0),
    (f"<think>a {BLOCK} b <|latent_end|></think><answer>B</answer>", 1, 0),
    (f"<think>a {BLOCK} b <|latent_pad|></think><answer>B</answer>", 1, 0),
    ("<think>a <|latent_start|><|latent_end|> b</think><answer>B</answer>", 1, 0),
    ("<think>a <|latent_start|>word<|latent_end|> b</think><answer>B</answer>", 1, 0),
    ("＜think＞a＜/think＞<answer>B</answer>", 1, 0),
    ("<THINK>a</THINK><answer>B</answer>", 1, 0),
    ("<think>a <Think> b</think><answer>B</answer>", 1, 0),
    # nothing
    ("", 0, 0),
    ("B", 0, 0),
    ("The answer is B.", 0, 0),
    ("Between the two frames the camera pans right.", 0, 0),
    ("<think>a</think>", 0, 0),
    ("<think>a</think><answer></answer>", 0, 0),
    ("<think>a</think><answer> </answer>", 0, 0),
    ("<think>a</think><answer>.</answer>", 0, 0),
    ("<think>a</think><answer>B", 0, 0),
    ("<think>a</think><answer>B</answer", 0, 0),
    ("<think>a</think>B</answer>", 0, 0),
    ("<think>a<answer>B</answer>", 0, 0),
    ("<think>a<answer>B</answer></think>", 0, 0),
    ("<think>a <answer>B</answer></think><answer>B</answer>", 0, 0),
    ("<answer>B</answer><think>a</think>", 0, 0),
    ("<think>a</think><answer>B</answer> I am sure.", 0, 0),
    ("<think>a</think><answer>B</answer><answer>B</answer>", 0, 0),
    ("<think>a</think><answer>A</answer><answer>B</answer>", 0, 0),
    ("<think>a</think><answer><answer>B</answer></answer>", 0, 0),
    ("<think>a</think><answer>B</answer></answer>", 0, 0),
    ("<think>a</think></answer>B<answer>", 0, 0),
    ("<think>a</think><ANSWER>B</ANSWER>", 0, 0),
    ("<think>a <ANSWER>C</ANSWER></think><answer>B</answer>", 0, 0),
    ("<thinking>a</thinking><ANSWER>B</ANSWER>", 0, 0),
    ("Based on the frames, Both move: B", 0, 0),
    ("<think>a</think>＜answer＞B＜/answer＞", 0, 0),
    ("<think>a</think><answer >B</answer >", 0, 0),
    ("<think>a</think>&lt;answer&gt;B&lt;/answer&gt;", 0, 0),
    ("<think>a</think><|latent_start|><answer>B</answer><|latent_end|>", 0, 0),
    ("<think>a</think><|latent_start|><answer>B</answer>", 0, 0),
    ("<|latent_start|><think>a</think><answer>B</answer>", 0, 0),
    ("<think>a</think><ans<|latent_start|><|latent_end|>wer>B</answer>", 0, 0),
]


@pytest.mark.parametrize(("completion", "accuracy", "shape"), TABLE, ids=range(len(TABLE)))
def test_hostile_completions(completion, accuracy, shape):
    assert accuracy_reward([completion], answer=["B"], options=[OPTIONS]) == [accuracy]
    assert format_reward([completion], answer=["B"], options=[OPTIONS]) == [shape]
    # Not one of them says where anything is; a long reasoning may earn 0.02.
    centers = {"camera_centers": [[[0.0] * 3] * 2], "object_centers": [None]}
    (whole,) = spatiotemporal_reward([completion], answer=["B"], options=[OPTIONS], **centers)
    assert whole == pytest.approx(0.6 * accuracy + 0.11 * shape, abs=0.01001)


def test_the_table_is_as_long_as_promised():
    assert len(TABLE) >= 60


def test_conversations_are_read_like_their_text():
    text = GOOD.format("B. Pan Right")
    as_message = [{"role": "assistant", "content": text}]
    as_parts = [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
    nothing = [{"role": "assistant", "content": None}]
    completions = [as_message, as_parts, nothing]
    assert accuracy_reward(completions, answer=["B"] * 3, options=[OPTIONS] * 3) == [1, 1, 0]
    assert format_reward(completions) == [1, 1, 0]


def test_the_rollout_text_shows_what_decoding_drops():
    seen = "<think>a</think><answer>B</answer>"
    spoken = f"<think>a</think><answer>B</answer>{BLOCK}"
    assert format_reward([seen]) == [1]
    assert format_reward([seen], rollout_text=[spoken]) == [0]


def test_every_option_order_gives_the_same_reward():
    for shift in range(4):
        options = OPTIONS[shift:] + OPTIONS[:shift]
        letter = "ABCD"[options.index("Pan Right")]
        completions = [GOOD.format(f"{letter}. Pan Right"), GOOD.format("Pan Right"), GOOD.format("Tilt Up")]
        assert accuracy_reward(completions, answer=[letter] * 3, options=[options] * 3) == [1, 1, 0]


@pytest.mark.parametrize("count", [2, 3, 10])
def test_two_options_to_ten_are_paid(count):
    options, letter = [f"{number} m" for number in range(count)], "ABCDEFGHIJ"[count - 1]
    completions = [GOOD.format(letter), GOOD.format(f"{letter}. {options[-1]}"), GOOD.format("A"), GOOD.format("K")]
    columns = {"answer": [letter] * 4, "options": [options] * 4}
    assert accuracy_reward(completions, **columns) == [1, 1, 0, 0]
    centers = {"camera_centers": [None] * 4, "object_centers": [None] * 4}
    paid = spatiotemporal_reward(completions, **columns, **centers)
    assert paid[0] == paid[1] == paid[2] + 0.6


@pytest.mark.parametrize("count", [1, 11])
def test_other_numbers_of_options_are_rejected(count):
    with pytest.raises(InputError, match=f"options has {count} entr.*: give 2 to 10"):
        accuracy_reward([GOOD.format("A")], answer=["A"], options=[["x"] * count])


def test_letters_are_enough_without_options_and_rows_without_answer_are_left_out():
    completions = [GOOD.format("B"), GOOD.format("C"), GOOD.format("B")]
    assert accuracy_reward(completions, answer=["b", "B", None]) == [1, 0, None]


@pytest.mark.parametrize(
    "completion",
    [
        "a" * 1_000_000,
        "<think>" * 150_000,
        "<answer>" * 120_000,
        "<think>" + " " * 1_000_000 + "</think><answer>B</answer>",
        "<think>a</think><answer>" + "B " * 500_000 + "</answer>",
        "<|latent_start|>" * 60_000 + "<answer>B</answer>",
        "<think>a" + BLOCK * 10_000 + "</think><answer>B</answer>",
        "<think>a</think><answer>" + "(" * 1_000_000 + "</answer>",
    ],
    ids=range(8),
)
def test_a_million_characters_are_read(completion):
    # No clock: were one step of the reading quadratic, this would take the better part of an hour.
    assert accuracy_reward([completion], answer=["B"], options=[OPTIONS])[0] in (0, 1)
    assert format_reward([completion])[0] in (0, 1)
