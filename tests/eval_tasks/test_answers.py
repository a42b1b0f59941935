"""The chosen option is read from responses, strictly for rewards and tolerantly for benchmarks."""

import time

import pytest

from fourdthinker.eval_tasks.answers import extract_answer
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tokens import format_options, latent_block

OPTIONS = ["left", "right", "up", "towards the camera"]
LATENTS = latent_block(4)

# response, what the policy `reward` reads, what the tolerant policy reads; all with OPTIONS offered.
TABLE = [
    # well formed
    ("<answer>B</answer>", "B", "B"),
    ("<answer>b.</answer>", "B", "B"),
    ("<answer>(B)</answer>", "B", "B"),
    ("<answer>[b]</answer>", "B", "B"),
    ("<answer>B)</answer>", "B", "B"),
    ("<answer>B:</answer>", "B", "B"),
    ("<answer> B \n</answer>\n", "B", "B"),
    ("<answer>B. right</answer>", "B", "B"),
    ("<answer>(B) Right.</answer>", "B", "B"),
    ("<answer>B: RIGHT</answer>", "B", "B"),
    ("<answer>B right</answer>", "B", "B"),
    ("<answer>Ｂ</answer>", "B", "B"),
    ("<answer>（Ｂ） right</answer>", "B", "B"),
    ("<answer>right</answer>", "B", "B"),
    ("<answer>Towards  the\ncamera.</answer>", "D", "D"),
    ("<answer>D. towards the camera</answer>", "D", "D"),
    ("<think>It goes right.</think><answer>B. right</answer>", "B", "B"),
    ("<think></think><answer>B</answer>", "B", "B"),
    ("It goes right. <answer>B</answer>", "B", "B"),
    ("right</think><answer>B</answer>", "B", "B"),
    (f"<think>See {LATENTS} so A or C?</think><answer>B</answer>", "B", "B"),
    (f"<think>{LATENTS * 50}</think>\n<answer>B</answer>", "B", "B"),
    (f"<think>x</think>{LATENTS}<answer>B</answer>", "B", "B"),
    ("<think>x</think><answer>B</answer><|im_end|>\n<|endoftext|>", "B", "B"),
    # not one clear choice
    ("<answer>Because it moves away, D</answer>", None, None),
    ("<answer>Camera pans; option B</answer>", None, "B"),
    ("<answer>A B C D</answer>", None, None),
    ("<answer>ABCD</answer>", None, None),
    ("<answer>A or B</answer>", None, None),
    ("<answer>A, B</answer>", None, None),
    ("<answer>A/B</answer>", None, None),
    ("<answer>A. left or B. right</answer>", None, None),
    ("<answer>A. left\nB. right</answer>", None, None),
    ("<answer>A. right</answer>", None, None),
    ("<answer>East</answer>", None, None),
    ("<answer>Away</answer>", None, None),
    ("<answer>a cat</answer>", None, None),
    ("<answer></answer>", None, None),
    ("<answer>   </answer>", None, None),
    ("<answer>.</answer>", None, None),
    ("<answer>E</answer>", None, None),
    ("<answer>E. back</answer>", None, None),
    ("<answer>left or right</answer>", None, None),
    ("<answer>B. rightwards</answer>", None, "B"),
    ("<answer>B. rightwards : past the AB sign</answer>", None, "B"),
    ("<answer>The answer is B</answer>", None, "B"),
    ("<answer>Option C</answer>", None, "C"),
    ("<answer>**B**</answer>", None, "B"),
    ("<answer>\\boxed{B}</answer>", None, "B"),
    ("<answer>not B</answer>", None, None),
    (f"<answer>{LATENTS}B</answer>", None, "B"),
    ("<answer>B<|latent_pad|></answer>", None, "B"),
    ("<answer><|im_start|>B</answer>", None, "B"),
    ("<answer>" + "B " * 5000 + "</answer>", None, None),
    # not one block at the end
    ("", None, None),
    ("   ", None, None),
    ("B", None, "B"),
    ("b.", None, "B"),
    ("right", None, "B"),
    ("<answer>B", None, "B"),
    ("B</answer>", None, None),
    ("</answer>B<answer>", None, None),
    ("<answer>A</answer><answer>B</answer>", None, "B"),
    ("<answer>B</answer><answer>B</answer>", None, "B"),
    ("<answer><answer>B</answer></answer>", None, "B"),
    ("<Answer>B</Answer>", None, "B"),
    ("<answer>B</answer> so it goes", None, "B"),
    ("<answer>B</answer>.", None, "B"),
    ("<answer>B</answer><think>really?</think>", None, None),
    ("<think>maybe <answer>B</answer></think>", None, None),
    ("<think>maybe <answer>B</answer></think>It goes on.", None, None),
    ("<think>maybe <answer>A</answer></think><answer>B</answer>", None, "B"),
    ("<think>never closed <answer>B</answer>", None, "B"),
    ("<think>The answer is B, I think", None, None),
    ("<think>The answer is A</think>The answer is B", None, "B"),
    # plain statements
    ("The answer is (B).", None, "B"),
    ("the correct option is: B", None, "B"),
    ("The answer is b", None, "B"),
    ("Answer: B", None, "B"),
    ("Answer: (c) up", None, "C"),
    ("The answer is right.", None, "B"),
    ("The answer is A or B.", None, None),
    ("The answer is A/B", None, None),
    ("The answer is A. No, the answer is B.", None, "B"),
    ("The answer is A cat on the left.", None, "A"),
    ("The answer is a cat.", None, None),
    ("The answer is A because it drifts.", None, "A"),
    ("The answer is A left", None, "A"),
    ("The answer is B since it drifts.", None, "B"),
    ("The answer is not B", None, None),
    ("The answer is Definitely up there", None, "C"),
    ("Option A is wrong, I cannot tell.", None, None),
    ("It goes there.\n\nB", None, "B"),
    ("It goes there.\n(B) right\n", None, "B"),
    ("So the final answer is $\\boxed{\\text{B}}$.", None, "B"),
    (format_options(OPTIONS), None, None),
    ("Which way? " + format_options(OPTIONS) + "\nAnswer: D", None, "D"),
    ("Between the Cars, During the Day", None, None),
    ("A cat walks. Before that, Dogs.", None, None),
    ("I cannot tell.", None, None),
]


@pytest.mark.parametrize("text,strict,tolerant", TABLE, ids=[f"{i}-{row[0][:40]}" for i, row in enumerate(TABLE)])
def test_table(text, strict, tolerant):
    assert extract_answer(text, OPTIONS, policy="reward") == strict
    assert extract_answer(text, OPTIONS, policy="tolerant") == tolerant


@pytest.mark.parametrize(
    "text,letter",
    [
        ("<answer>D</answer>", "D"),
        ("<answer>B. left</answer>", "B"),
        ("<answer>E</answer>", None),
        ("<answer>left</answer>", None),
        ("<answer>A or B</answer>", None),
        ("<answer>A. left, or B. right</answer>", None),
        ("<answer>Because ... D</answer>", None),
    ],
)
def test_without_options_the_four_letters_are_offered(text, letter):
    assert extract_answer(text, policy="reward") == letter
    assert extract_answer(text) == letter


def test_only_offered_letters_count():
    assert extract_answer("<answer>E</answer>", ["a", "b", "c", "d", "e"], "reward") == "E"
    assert extract_answer("<answer>C</answer>", ["yes", "no"], "reward") is None
    assert extract_answer("The answer is C", ["yes", "no"]) is None


def test_up_to_ten_options_are_read():
    ten = [f"{number} m" for number in range(10)]
    for policy in ("reward", "tolerant"):
        assert extract_answer("<answer>J. 9 m</answer>", ten, policy) == "J"
        assert extract_answer("<answer>8 m</answer>", ten, policy) == "I"
        assert extract_answer("<answer>K</answer>", ten, policy) is None
        for count in (1, 11):
            with pytest.raises(InputError, match=f"options has {count} entr.*: give 2 to 10"):
                extract_answer("<answer>A</answer>", ["x"] * count, policy)
    # Where I is a letter it is still a word.
    assert extract_answer("The answer is (I)", ten) == "I"
    assert extract_answer("I think the answer is B", ten) == "B"
    assert extract_answer("<answer>B. I see it a metre off</answer>", ten) == "B"
    assert extract_answer("<answer>B. or I</answer>", ten) is None
    assert extract_answer("The answer is I would say far", ten) is None


def test_an_option_that_occurs_twice_cannot_be_named_by_its_text():
    assert extract_answer("<answer>left</answer>", ["left", "left", "up", "down"], "reward") is None


def test_same_choice_in_any_option_order():
    for turn in range(4):
        options = OPTIONS[turn:] + OPTIONS[:turn]
        letter = "ABCD"[options.index("right")]
        for policy in ("reward", "tolerant"):
            assert extract_answer("<answer>right</answer>", options, policy) == letter
            assert extract_answer(f"<answer>{letter}. right</answer>", options, policy) == letter


def test_dropping_the_reasoning_first_changes_nothing():
    # Evaluation harnesses strip <think>…</think> before they score.
    for text, _, tolerant in TABLE:
        start, end = text.find("<think>"), text.find("</think>")
        if start == 0 < end:
            assert extract_answer(text[end + len("</think>") :], OPTIONS) == tolerant


@pytest.mark.parametrize("policy", ["reward", "tolerant"])
@pytest.mark.parametrize(
    "unit",
    ["<answer>", "</answer>", "<answer>B</answer>", "<|latent_start|>", "<|latent_pad", "A or ", "B\n", " ", "\n",
     "answer ", "the answer is ", "option A, ", "(", "\\boxed{", "<think>", "a\u0301\u0323", "é", "ﬁ", "B.", "<"],
)  # fmt: skip
def test_a_megabyte_of_anything_is_read_within_a_second(unit, policy):
    text = unit * (1_000_000 // len(unit))
    for candidate in (text, f"<answer>{text}</answer>", f"<answer>B</answer>{text}!", f"{text}<answer>B</answer>"):
        start = time.process_time()
        extract_answer(candidate, OPTIONS, policy)
        assert time.process_time() - start < 1


def test_bad_arguments_are_rejected():
    with pytest.raises(ValueError, match="unknown policy 'lenient'"):
        extract_answer("B", policy="lenient")
    with pytest.raises(TypeError, match="sequence of texts"):
        extract_answer("B", options="__import__('os').system('true')")


def test_constant_policies_earn_no_more_than_chance():
    # Each key is right once, so a constant letter earns exactly chance and everything else must earn less.
    keys = "ABCD"
    prompt = "Which way does it move?\n" + format_options(OPTIONS)
    for response, most in {
        "<answer>A</answer>": 1,
        f"<answer>{max(OPTIONS, key=len)}</answer>": 1,
        prompt: 0,
        f"<answer>{prompt}</answer>": 0,
        "": 0,
        "<answer>A</answer><answer>B</answer><answer>C</answer><answer>D</answer>": 0,
    }.items():
        assert sum(extract_answer(response, OPTIONS, "reward") == key for key in keys) <= most
