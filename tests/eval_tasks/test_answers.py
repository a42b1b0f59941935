"""The chosen option is read from responses: for rewards, by benchmarks' own rules, and as a careful reader would."""

import random
import time

import pytest

from fourdthinker.eval_tasks.answers import RULES, extract_answer
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tokens import format_options

from .model_answers import ANSWERS, OTHER_OPTIONS
from .response_shapes import OPTIONS, SHAPES


@pytest.mark.parametrize(
    "text,reward,strict,tolerant", SHAPES, ids=[f"{i}-{row[0][:40]}" for i, row in enumerate(SHAPES)]
)
def test_table(text, reward, strict, tolerant):
    assert extract_answer(text, OPTIONS, policy="reward") == reward
    assert extract_answer(text, OPTIONS, policy="strict") == strict
    assert extract_answer(text, OPTIONS, policy="tolerant") == tolerant


@pytest.mark.parametrize(
    "text,options,letter",
    [*((text, OPTIONS, letter) for text, letter in ANSWERS), *OTHER_OPTIONS],
    ids=[f"{number}-{row[0][-40:]}" for number, row in enumerate([*ANSWERS, *OTHER_OPTIONS])],
)
def test_answers_as_models_write_them(text, options, letter):
    assert extract_answer(text, options) == letter
    for policy in ("reward", "strict"):  # these read less, and never another letter
        assert extract_answer(text, options, policy) in (None, letter)


@pytest.mark.parametrize(
    "rule,text,letter",
    [
        # The first capital letter counts, wherever it stands, once some prefixes are gone.
        ("dsr_bench", "Because of C it is D", "B"),
        ("dsr_bench", "B", "B"),
        ("dsr_bench", "b", None),
        ("dsr_bench", "The best answer is C", "C"),
        ("dsr_bench", "Answer: C", "C"),
        ("dsr_bench", "Best answer: C", "B"),  # the published list of prefixes lacks a comma here
        ("dsr_bench", "A cat, so D", "A"),
        ("dsr_bench", "<think>Down</think><answer>A</answer>", "D"),
        ("dsr_bench", "it goes left", None),
        # The first word must be the letter; only some punctuation goes.
        # The first answer block, else the first capital anywhere.
        ("dsr_bench_cot", "<think>At first A Dog.</think><answer>B. right</answer><answer>C</answer>", "B"),
        ("dsr_bench_cot", "A Dog <Answer>\nBest option: C\n</Answer>", "C"),
        ("dsr_bench_cot", "The best option is C", "C"),
        ("dsr_bench_cot", "It is D. <answer>left</answer>", "D"),
        ("dsr_bench_cot", "<answer>left</answer>", None),
        ("dyn_bench", "B.", "B"),
        ("dyn_bench", "b, it moves", "B"),
        ("dyn_bench", "B)", None),
        ("dyn_bench", "(B)", None),
        ("dyn_bench", "Answer: B", None),
        ("dyn_bench", "A cat", "A"),
        ("dyn_bench", "E", None),
        # Six patterns in order, each over the whole text and in any case, then the last character.
        ("sti_bench", "Not (A). Answer: B", "A"),
        ("sti_bench", "Ans='c'", "C"),
        ("sti_bench", "option d", "D"),
        ("sti_bench", "So b is correct", "B"),
        ("sti_bench", "It is C.\nThe end", "C"),
        ("sti_bench", "I think B", "B"),
        ("sti_bench", "towards b", None),
        ("sti_bench", "IT IS BAD", "D"),
        ("sti_bench", "The answer is B, it goes left", None),
        # One letter in the tag and nothing else.
        ("dsi_bench", "<answer>B</answer>", "B"),
        ("dsi_bench", "x <Answer> b </Answer> <answer>C</answer>", "B"),
        ("dsi_bench", "<answer>B.</answer> <answer>C</answer>", "C"),
        ("dsi_bench", "<B>", None),
        ("dsi_bench", "B", None),
        # The format that the prompts ask for.
        ("vlm4d", "It turns. Therefore, the final answer is: $B$", "B"),
        ("vlm4d", "**Therefore, the final answer is: D.**", "D"),
        ("vlm4d", "The final answer is: A. No, the final answer is: C", "C"),
        ("vlm4d", "(c)", "C"),
        ("vlm4d", "The answer is B", None),
        ("vlm4d", "the final answer is: left", None),
    ],
)
def test_rules_of_benchmarks_keep_their_quirks(rule, text, letter):
    assert extract_answer(text, OPTIONS, "strict", rule) == letter


@pytest.mark.parametrize("rule", RULES)
def test_rules_give_offered_letters_only(rule):
    for text in ("D", "(D)", "<answer>D</answer>", "the final answer is: D"):
        assert extract_answer(text, ["yes", "no"], "strict", rule) is None


@pytest.mark.parametrize("ten", [False, True])
@pytest.mark.parametrize(
    "shape",
    [
        "{L}", "{l}.", "({L})", "<{L}>", "{L}. {t}", "{L}: {t}", "{L} ({t})", "{L} {t}", "{L} - {t}", "'{L}'",
        "'{L}: {t}'",
        "The answer is {L}.", "The answer is: {L} ({t})", "The answer is {L} {t}", "The answer is {L}, {t}.",
        "The answer is {L}\n\nIt moves.", "The answer is {L} because it moves.", "The answer is {L} as shown.",
        "{L} is correct.", "option {L} ({t}) is the correct answer", "So {L} is the best option.", "I choose {L}.",
        "This corresponds to option {L}.", "Therefore, {L}.", "It is {L}.", "{L}\n\nThe car moves.",
        "\\boxed{{{L}}}", "$\\boxed{{\\text{{{L}. {t}}}}}$", "\\( {L} \\)", "${L}$", "the answer is $\\mathrm{{{L}}}$",
        "答案是：{L}", "答案是{L}。", "**{L}** {t}",
    ],
)  # fmt: skip
def test_no_letter_is_lost_more_often_than_another(shape, ten):
    options = "zero one two three four five six seven eight nine".split() if ten else OPTIONS
    for letter, option in zip("ABCDEFGHIJ", options, strict=False):
        text = shape.format(L=letter, l=letter.lower(), t=option)
        assert extract_answer(text, options) == letter, text


QUANTITIES = ["1 m/s", "2 A", "2.5 A", "3 m", "$5\\,\\text{kg}$", "6 N", "\\frac{1}{2}", "8 J", "9 J", "10%"]
MOTIONS = ["moving", "not moving", "turning left", "turning right"]
TURNS = ["clockwise", "counter-clockwise", "not rotating", "no wheel there"]


@pytest.mark.parametrize(
    "text,options,letter",
    [
        # units and formulas
        ("The current is $I = 2\\,\\text{A}$, hence the answer is (B).", QUANTITIES, "B"),
        ("We have $I = 2.5\\,\\text{A}$. The answer is approximately 2.5 A.", QUANTITIES, "C"),
        ("$v = \\frac{3\\,\\text{m}}{3\\,\\text{s}}$. \\boxed{1\\,\\text{m/s}}", QUANTITIES, "A"),
        ("\\[ \\boxed{5 \\text{ kg}} \\]", QUANTITIES, "E"),
        ("The answer is $\\boxed{\\text{(J)}}$.", QUANTITIES, "J"),
        ("The correct answer is I.", QUANTITIES, "I"),
        ("\\boxed{42}\n\nThus the answer is (D).", QUANTITIES, "D"),
        ("\\boxed{10\\%}", QUANTITIES, "J"),
        ("\\boxed{\\frac{1}{2}}", QUANTITIES, "G"),
        ("The answer is (B) 3 m", QUANTITIES, None),
        ("the solution is E = 5 V, so we pick F = 3.", QUANTITIES, None),
        ("The frequency response is H(s), where C is the correct capacitance.", QUANTITIES, None),
        # the option's words
        ("The car is not moving.", MOTIONS, "B"),
        ("The car is moving.", MOTIONS, "A"),
        ("It isn't moving.", MOTIONS, None),
        ("The car isn't turning left, it is turning right.", MOTIONS, "D"),
        ("It rotates anti-clockwise.", TURNS, "B"),
        ("It rotates counter clockwise.", TURNS, "B"),
        ("It rotates clockwise.", TURNS, "A"),
        ("No, the car does not turn.", ["yes", "no"], "B"),
        ("There is no car.", ["yes", "no"], None),
        # numbers
        ("3", [1, 2, 3, 4], "C"),
        ("There are three people walking.", [1, 2, 3, 4], "C"),
        ("Therefore, the final answer is: $C$ (3)", [1, 2, 3, 4], "C"),
        ("D. 3", [1, 2, 3, 4], None),
        ("2.5", [1, 2, 3, 4], None),
        ("1.0", [1.0, 2.5], "A"),
        # equal options: the first by the text, any by its letter
        ("It moves left.", ["left", "right", "left", "up"], "A"),
        ("C. left", ["left", "right", "left", "up"], "C"),
    ],
)
def test_kinds_of_options(text, options, letter):
    assert extract_answer(text, options) == letter


def test_equal_numbers_of_different_kinds_are_not_mixed_up():
    assert extract_answer("1", [1, 2]) == "A"
    assert extract_answer("1", [True, 2]) is None  # `True == 1`


def test_a_long_response_that_was_cut_off_names_nothing_by_its_last_words():
    reasoning = "The object changes its place from frame to frame. " * 60
    assert extract_answer(reasoning + "So it moves to the right.", OPTIONS) == "B"
    assert extract_answer(reasoning + "Now, whatever one thinks, it goes to the right and", OPTIONS) is None


def test_random_reasoning_never_answers():
    """Reasoning of either name, closed, left open, or several: what it says changes nothing."""
    generator = random.Random(0)
    said = ["The answer is A.", "\\boxed{C}", "So it goes left.", "Option D", "C is correct", "(A)"]
    for _ in range(300):
        tag = generator.choice(["think", "thinking", "THINK"])
        blocks = [f"<{tag}>{generator.choice(said)}</{tag}>" for _ in range(generator.randint(1, 3))]
        answer = generator.choice(["The answer is B.", "B", "<answer>B</answer>", "It moves to the right."])
        text = "".join(blocks) + answer
        assert extract_answer(text, OPTIONS) == "B", text
        opened = f"{answer}<{tag}>{generator.choice(said)}"
        assert extract_answer(opened, OPTIONS) == "B", opened
        assert extract_answer(f"<{tag}>{generator.choice(said)}", OPTIONS) is None


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
    for text, _, _, tolerant in SHAPES:
        start, end = text.find("<think>"), text.find("</think>")
        if start == 0 < end:
            assert extract_answer(text[end + len("</think>") :], OPTIONS) == tolerant


@pytest.mark.slow
@pytest.mark.parametrize("policy,rule", [("reward", None), ("tolerant", None), ("strict", "sti_bench")])
@pytest.mark.parametrize(
    "unit",
    ["<answer>", "</answer>", "<answer>B</answer>", "<|latent_start|>", "<|latent_pad", "A or ", "B\n", " ", "\n",
     "answer ", "the answer is ", "option A, ", "(", "\\boxed{", "<think>", "a\u0301\u0323", "é", "ﬁ", "B.", "<",
     "选", "\\text{", "left. ", "not left, ", "B is correct. ", "ﷺ"],
)  # fmt: skip
def test_a_megabyte_of_anything_is_read_at_once(unit, policy, rule):
    text = unit * (1_000_000 // len(unit))
    for candidate in (text, f"<answer>{text}</answer>", f"{text}<answer>B</answer>"):
        start = time.process_time()
        extract_answer(candidate, OPTIONS, policy, rule)
        assert time.process_time() - start < 0.5  # 0.2 s on a machine of its own


def test_bad_arguments_are_rejected():
    with pytest.raises(ValueError, match="unknown policy 'lenient'"):
        extract_answer("B", policy="lenient")
    with pytest.raises(ValueError, match="unknown rule 'mmlu'"):
        extract_answer("B", policy="strict", rule="mmlu")
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


@pytest.mark.parametrize("options", [["moving", "moving to the left"], ["left", "to the left"]])
def test_a_text_that_holds_another_one_is_that_text_alone(options):
    assert extract_answer("Look at the car. It is moving to the left.", options) == "B"
    assert extract_answer("Look at the car. It is moving.", ["moving", "moving to the left"]) == "A"
