"""The ST-reward on hostile completions: what each part pays, and everything that it must not."""

import math
from functools import partial

import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Picture

from fourdthinker.modeling import load_model
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tokens import format_spatial_state
from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer
from fourdthinker.trainers.rewards.answer_rewards import spatiotemporal_reward

OPTIONS = ["1.0 m", "2.0 m", "3.0 m", "4.0 m"]  # the right one is C
CAMERA = ([0.0, 0.0, 0.0], [0.0, 0.0, 3.0])
OBJECT = ([1.0, 0.0, 4.0], None)
BLOCK = "<|latent_start|>" + "<|latent_pad|>" * 4 + "<|latent_end|>"
START = format_spatial_state(3, CAMERA[0], OBJECT[0])
END = format_spatial_state(9, CAMERA[1], OBJECT[1])
REASONING = "<think>At the start the camera stands still.\n{}\nLater it has moved on.\n{}\nSo it moved.</think>"
ANSWER = "<answer>C</answer>"
FAR = math.exp(-0.5)  # one of two centres, 1 m off


def compose(start=START, end=END, answer=ANSWER):
    return REASONING.format(start, end) + answer


def camera(first="[0, 0, 0]", last="[0, 0, 3]"):
    """Both states, the camera's centres as given."""
    return compose(
        f"Spatial State (Frame 3):\n- Camera Center: {first}\n- Object Center: [1, 0, 4]",
        f"Spatial State (Frame 9):\n- Camera Center: {last}\n- Object Center: null",
    )


# completion, accuracy, format, camera, object
TABLE = [
    # all of it
    (compose(), 1, 1, 1, 1),
    (compose(answer="<answer>C. 3.0 m</answer>"), 1, 1, 1, 1),
    (compose(answer="\n<answer>3.0 m</answer>\n"), 1, 1, 1, 1),
    (compose(f"{BLOCK} {START}", f"{END} {BLOCK}"), 1, 1, 1, 1),
    (compose(START.replace("\n", " "), END.replace("\n", " ")), 1, 1, 1, 1),
    (camera("[0,0,0]", "[ 0 , 0 , 3 ]"), 1, 1, 1, 1),
    (camera("[-0.0, 0e5, 0.000]", "[0, 0, 0.3E1]"), 1, 1, 1, 1),
    (camera("[0, 0, 0] metres", "[0, 0, 3] "), 1, 0.6, 0, 0),
    # a wrong answer, or none
    (compose(answer="<answer>A</answer>"), 0, 1, 1, 1),
    (compose(answer="<answer>A or C</answer>"), 0, 1, 1, 1),
    (compose(answer="<answer>Based on the frames, C</answer>"), 0, 1, 1, 1),
    (compose(answer="<answer>Ｃ</answer>"), 1, 1, 1, 1),
    (compose(answer="<answer>С</answer>"), 0, 1, 1, 1),  # a Cyrillic letter
    (compose(answer="<answer></answer>"), 0, 0.4, 1, 1),
    (compose(answer="<answer>C"), 0, 0.4, 1, 1),
    (compose(answer="C"), 0, 0.4, 1, 1),
    (compose(answer="<answer>C</answer><answer>C</answer>"), 0, 0.4, 1, 1),
    (compose(answer="<answer><answer>C</answer></answer>"), 0, 0.4, 1, 1),
    (compose(answer="<answer>C</answer> for sure"), 0, 0.4, 1, 1),
    (compose(answer="<ANSWER>C</ANSWER>"), 0, 0.4, 1, 1),
    (compose(answer=f"{BLOCK}<answer>C</answer>"), 1, 0.4, 1, 1),
    (compose(answer="<|latent_start|><answer>C</answer><|latent_end|>"), 0, 0.4, 1, 1),
    # another format around right states
    (START + END + ANSWER, 1, 0.4, 1, 1),
    (f"<think>{START}{END}{ANSWER}</think>", 0, 0.4, 1, 1),
    (f"<thinking>{START}{END}</thinking>{ANSWER}", 1, 0.4, 1, 1),
    (f"<think>{START}{END}", 0, 0.4, 1, 1),
    (f"<think>{START}</think>{END}{ANSWER}", 1, 0.4, 1, 1),
    (f"<think>{START}</think><answer>C {END}</answer>", 0, 0.5 + 0.1 + 0.4, 1, 1),
    (START + END, 0, 0.4, 1, 1),
    # near, and far
    (camera(last="[0, 0, 4]"), 1, 1, FAR, 1),
    (camera("[1, 0, 0]", "[0, 0, 4]"), 1, 1, math.exp(-1), 1),
    (camera(last="[0, 3, 7]"), 1, 1, math.exp(-2.5), 1),
    (camera(last="[0, 0, 3000]"), 1, 1, 0, 1),
    (compose(format_spatial_state(3, CAMERA[0], [1, 0, 6])), 1, 1, 1, math.exp(-2)),
    # a centre for the wrong frame, missing, or made up
    (camera("null", "null"), 1, 1, 0, 1),
    (camera("null"), 1, 1, 0, 1),
    (compose(format_spatial_state(3, CAMERA[0], [2, 1, 4]), END), 1, 1, 1, math.exp(-math.sqrt(2))),
    (compose(format_spatial_state(3, CAMERA[0], None), format_spatial_state(9, CAMERA[1], OBJECT[0])), 1, 1, 1, 0),
    (compose(START, format_spatial_state(9, CAMERA[1], OBJECT[0])), 1, 1, 1, 0),
    (compose(format_spatial_state(3, None, None), format_spatial_state(9, None, None)), 1, 1, 0, 0),
    # too many blocks, too few, in disorder
    (compose(START, END + END), 1, 0.6, 0, 0),
    (compose(START + START, END), 1, 0.6, 0, 0),
    (compose(START * 500, END), 1, 0.6, 0, 0),
    (compose(START, END + format_spatial_state(12, CAMERA[1], None)), 1, 0.6, 0, 0),
    (compose(START, END + " Spatial State (Frame 10): unclear"), 1, 0.6, 0, 0),
    (compose(START, END + " Spatial State (Frame "), 1, 0.6, 0, 0),
    (compose(END, START), 1, 0.6, 0, 0),
    (compose(START, START), 1, 0.6, 0, 0),
    (compose(START, ""), 1, 0.6, 0, 0),
    (compose("", ""), 1, 0.6, 0, 0),
    (compose(BLOCK[:16] + START + BLOCK[-14:], END), 1, 0, 0, 0),
    (compose(START, END, f"<answer>C</answer>{START}"), 0, 0, 0, 0),
    (compose(START, END).replace("Camera Center: [0.00, 0.00, 0.00]", "Camera Center: [0,0,0] [0,0,0]"), 1, 0.6, 0, 0),
    # something else than a state
    (compose(START.lower(), END.lower()), 1, 0.6, 0, 0),
    (compose(START.upper(), END.upper()), 1, 0.6, 0, 0),
    (compose(START.replace("Spatial", "Ѕpatial"), END), 1, 0.6, 0, 0),  # a Cyrillic letter
    (compose(START.replace("(", "（").replace(")", "）"), END), 1, 0.6, 0, 0),
    (compose(START.replace("Frame 3", "Frame ３"), END), 1, 0.6, 0, 0),
    (compose(START.replace("Frame 3", "Frame X"), END), 1, 0.6, 0, 0),
    (compose(START.replace("Frame 3", "Frame -3"), END), 1, 0.6, 0, 0),
    (compose(START.replace("Frame 3", "Frame " + "0" * 5000 + "3"), END), 1, 0.6, 0, 0),
    (compose(START.replace("\n- Object", "\nIt stands there.\n- Object"), END), 1, 0.6, 0, 0),
    (compose(START.replace("- Object Center: [1.00, 0.00, 4.00]", ""), END), 1, 0.6, 0, 0),
    (compose(f"Camera Center: {CAMERA[0]}, Object Center: {OBJECT[0]}", END), 1, 0.6, 0, 0),
    # something else than three numbers
    *((camera(last=center), 1, 0.6, 0, 0) for center in (
        "[NaN, 0, 3]", "[nan, nan, nan]", "[inf, 0, 3]", "[-Infinity, 0, 3]", "[0, 3]", "[0, 0, 3, 0]", "[]",
        "[[0, 0, 3]]", "[" * 5000 + "0, 0, 3" + "]" * 5000, "(0, 0, 3)", "0, 0, 3", "[0; 0; 3]", "[0 0 3]",
        "[0, 0, 3", "0, 0, 3]", "[x, y, z]", "[0, 0, 1+2]", "[0, 0, 0x3]", "[0, 0, 3.]", "[0, 0, .3e1]", "[0, 0, 3,]",
        "[0, 0, --3]", "[0, 0, −3]", "[0, 0, ３]", "[0, 0, ٣]", "[0, 0, 3_0]", "[0, 0, 1,000]", "[0, 0, 3e1000000]",
        "[0, 0, " + "9" * 5000 + "]", "[0, 0, __import__('os').abort()]", "None", "NULL", "nul", "",
    )),
    # a number that is one, and too large
    (camera(last="[0, 0, 1e999]"), 1, 1, 0, 1),
    (camera("[-9e999, 9e999, 1e999]", "[1e308, -1e308, 1e308]"), 1, 1, 0, 1),
    (camera(last="[0, 0, " + "9" * 40 + "]"), 1, 1, 0, 1),
    (camera(last="[1e-999, -0, 3]"), 1, 1, 1, 1),
    # short reasoning, long in another way
    (f"<think>{BLOCK}It moved.{BLOCK}</think>{ANSWER}", 1, 0.5, 0, 0),
    (f"<think>It moved{'. ' * 500}</think>{ANSWER}", 1, 0.5, 0, 0),
    (f"<think>It moved{chr(0x200B) * 500}</think>{ANSWER}", 1, 0.5, 0, 0),
    (f"<think>{'a' * 20}</think>{ANSWER}", 1, 0.5, 0, 0),
    (f"<think>{'a' * 21}</think>{ANSWER}", 1, 0.6, 0, 0),
    (f"<think></think>{ANSWER}", 1, 0, 0, 0),
    # nothing
    ("", 0, 0, 0, 0),
    ("C", 0, 0, 0, 0),
    ("Between the two frames the camera moves on.", 0, 0, 0, 0),
    ("null", 0, 0, 0, 0),
]  # fmt: skip


def reward(completion, camera_centers=CAMERA, object_centers=OBJECT, **arguments):
    """The reward of one completion and its parts, as they are logged."""
    parts = {}
    (total,) = spatiotemporal_reward(
        [completion],
        answer=["C"],
        camera_centers=[camera_centers],
        object_centers=[object_centers],
        options=[OPTIONS],
        log_metric=lambda name, value: parts.update({name.removeprefix("rewards/spatiotemporal/"): value}),
        **arguments,
    )
    return total, parts


@pytest.mark.parametrize(("completion", "accuracy", "shape", "at_camera", "at_object"), TABLE, ids=range(len(TABLE)))
def test_hostile_completions(completion, accuracy, shape, at_camera, at_object):
    total, parts = reward(completion)
    expected = {"accuracy": accuracy, "format": shape, "camera": at_camera, "object": at_object}
    assert parts == pytest.approx(expected, abs=1e-9)
    assert total == pytest.approx(0.6 * accuracy + 0.2 * shape + 0.1 * at_camera + 0.1 * at_object, abs=1e-9)


def test_the_table_is_as_long_as_promised():
    assert len(TABLE) >= 60


def test_what_is_not_known_is_to_be_called_null():
    silent = compose(format_spatial_state(3, CAMERA[0], None), format_spatial_state(9, CAMERA[1], None))
    for unknown in (None, (None, None), [None, None]):
        assert reward(silent, CAMERA, unknown)[1]["object"] == 1
        assert reward(compose(), CAMERA, unknown)[1]["object"] == 0
        assert reward("<think>It moved.</think><answer>C</answer>", CAMERA, unknown)[1]["object"] == 0
        assert reward("", unknown, unknown)[0] == 0


def test_the_relative_scale_forgives_by_distance():
    far = ([0.0, 0.0, 10.0], [0.0, 30.0, 40.0])
    completion = compose(format_spatial_state(3, [0, 0, 11], None), format_spatial_state(9, [0, 30, 35], None))
    assert reward(completion, far, None)[1]["camera"] == pytest.approx(math.exp(-(1 + 5) / 2))
    assert reward(completion, far, None, center_scale="relative")[1]["camera"] == pytest.approx(math.exp(-0.1))
    # Nearer than a metre, errors count as they do at a metre, even at the origin.
    near = compose(format_spatial_state(3, [0, 0, 1], None), format_spatial_state(9, [0, 0, 0.2], None))
    truth = ([0.0, 0.0, 0.0], [0.0, 0.0, 0.4])
    relative = partial(reward, center_scale="relative")
    assert relative(near, truth, None)[1]["camera"] == pytest.approx(math.exp(-(1 + 0.2) / 2))


def test_the_format_can_be_had_by_a_question_about_either_center():
    only_camera = compose(format_spatial_state(3, CAMERA[0], None), format_spatial_state(9, CAMERA[1], None))
    only_object = compose(format_spatial_state(3, None, OBJECT[0]), format_spatial_state(9, None, None))
    assert reward(only_camera, CAMERA, None)[0] == pytest.approx(1)
    assert reward(only_object, None, OBJECT)[0] == pytest.approx(1)


def test_the_order_of_options_does_not_matter():
    for shift in range(4):
        options = OPTIONS[shift:] + OPTIONS[:shift]
        letter = "ABCD"[options.index("3.0 m")]
        for answer in (letter, "3.0 m", f"{letter}. 3.0 m"):
            (total,) = spatiotemporal_reward(
                [compose(answer=f"<answer>{answer}</answer>")], [letter], [CAMERA], [OBJECT], options=[options]
            )
            assert total == pytest.approx(1)


def test_a_constant_policy_earns_its_chance():
    truths = [(letter, CAMERA, OBJECT) for letter in "ABCD"]
    nothing_known = [(letter, None, None) for letter in "ABCD"]
    silent = compose(format_spatial_state(0, None, None), format_spatial_state(1, None, None), "<answer>A</answer>")
    for completion, rows, most in [
        ("", truths, 0),
        ("", nothing_known, 0),
        ("Which way does it move? " + ", ".join(OPTIONS), truths, 0),
        ("<answer>A</answer>", truths, 0.15),
        (silent, truths, 0.15 + 0.2),
    ]:
        rewards = spatiotemporal_reward([completion] * 4, *zip(*rows, strict=True), options=[OPTIONS] * 4)
        assert sum(rewards) / 4 == pytest.approx(most)


def test_rows_without_answer_are_left_out_and_latent_tokens_seen():
    spoken = compose(answer=f"<answer>C</answer>{BLOCK}")
    rewards = spatiotemporal_reward(
        [compose(), [{"role": "assistant", "content": compose()}], compose()],
        ["C", "c", None],
        [CAMERA] * 3,
        [OBJECT] * 3,
        rollout_text=[spoken, compose(), compose()],
        frames=None,
    )
    assert rewards == [pytest.approx(0.6 + 0.08 + 0.2), pytest.approx(1), None]


@pytest.mark.parametrize(
    "centers",
    [[[0, 0, 0]], [[0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, math.nan]], [[math.inf, 0, 0], None], "ab", 3, [[], []]],
    ids=str,
)
def test_truth_that_is_none_is_rejected(centers):
    with pytest.raises(InputError, match="object_centers holds .* two points"):
        reward(compose(), CAMERA, centers)


def test_an_unknown_scale_is_rejected():
    with pytest.raises(InputError, match="center_scale is 'inches': choose one of metric, relative"):
        reward(compose(), center_scale="inches")


@pytest.mark.parametrize(
    "completion",
    [
        "Spatial State (Frame " * 50_000,
        "Spatial State (Frame 1):" * 40_000,
        "Spatial State (Frame 1): - Camera Center: [" + "1" * 1_000_000,
        "Spatial State (Frame 1): - Camera Center: [" + "1, " * 300_000,
        "Spatial State (Frame 1): - Camera Center: " + "[" * 1_000_000,
        "Spatial State (Frame 1): " + " " * 1_000_000,
        "Spatial State (Frame " + "1" * 1_000_000,
        START * 15_000,
        compose(START, END + "x" * 1_000_000),
        compose(START, "<|latent_start|>" * 60_000 + END),
    ],
    ids=range(10),
)
def test_a_million_characters_are_read(completion):
    # No clock: were one step of the reading quadratic, this would take the better part of an hour.
    total, _ = reward(completion)
    assert 0 <= total <= 1


@pytest.mark.slow
def test_the_trainer_takes_it_with_a_scale_and_logs_its_parts(tiny_model_folder, tmp_path):
    model, processor = load_model(tiny_model_folder)
    args = LatentGRPOConfig(
        str(tmp_path),
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=4,
        max_steps=1,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
    )
    row = {
        "question": "How far?",
        "options": OPTIONS,
        "answer": "C",
        "frames": [Picture.new("RGB", (56, 56), (shade, 0, 0)) for shade in (0, 90)],
        "timestamps": [0.0, 1.0],
        "camera_centers": CAMERA,
        "object_centers": OBJECT,
    }
    points = List(List(Value("float64")))
    features = {"frames": List(Image()), "camera_centers": points, "object_centers": points}
    features |= {"options": List(Value("string")), "timestamps": List(Value("float64"))}
    features |= {"question": Value("string"), "answer": Value("string")}
    rows = Dataset.from_list([row, {**row, "object_centers": None}], features=Features(features))
    paid = partial(spatiotemporal_reward, center_scale="relative")
    trainer = LatentGRPOTrainer(model, paid, args, rows, processing_class=processor)
    trainer.train()
    (entry,) = (entry for entry in trainer.state.log_history if "reward" in entry)
    assert entry["rewards/spatiotemporal_reward/mean"] == 0  # a random model says nothing
    assert [entry[f"rewards/spatiotemporal/{part}"] for part in ("accuracy", "format", "camera", "object")] == [0] * 4
