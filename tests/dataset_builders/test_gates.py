"""Gates: each kind of give-away fails its own gate and no other, rows without any pass, on rows read from disk."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("sklearn", reason="the gates need the data extra")
pytest.importorskip("imagehash", reason="the gates need the data extra")

from fourdthinker.dataset_builders.fourd_cot import write_dataset
from fourdthinker.dataset_builders.gates.check import check_dataset
from fourdthinker.dataset_builders.gates.report import write_section
from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.tokens import OPTION_LETTERS

LABELS = ("Pan Left", "Pan Right", "Tilt Up", "Tilt Down", "Dolly In", "Dolly Out", "Stay")


def noise(rng, low=0):
    return Image.fromarray(rng.integers(low, 256, (32, 32, 3), dtype=np.uint8))


def make_row(number, rng, options=4, task="camera_motion"):
    """A row that gives nothing away: options, their order and the frames are independent of what is right."""
    offered = [str(label) for label in rng.permutation(LABELS)[:options]]
    return {
        "id": f"row-{number}",
        "source": f"clip-{number}.mp4",
        "task": task,
        "question": f"Which way does the camera move over {rng.integers(2, 9)} seconds?",
        "options": offered,
        "answer": OPTION_LETTERS[int(rng.integers(options))],
        "frames": [noise(rng) for _ in range(3)],
        "timestamps": [0.0, 0.5, 1.0],
        "facts": "{}",
    }


def right_text(row):
    return row["options"][OPTION_LETTERS.index(row["answer"])]


def write(folder, rows, held_out=40) -> Path:
    folder.mkdir()
    splits = {"train": rows[held_out:], "test": rows[:held_out]} if held_out else {"train": rows}
    write_dataset({"grpo": splits}, folder)
    return folder


def make_rows(count=240, change=None, seed=3, **settings):
    rng = np.random.default_rng(seed)
    rows = [make_row(number, rng, **settings) for number in range(count)]
    for number, row in enumerate(rows):
        if change:
            change(row, number, rng)
    return rows


def win_by_pair(row, number, rng):
    """Of two options one beats the other; each label beats as many as it loses to, so that the balance is right."""
    row["options"] = row["options"][:2]
    first, second = (LABELS.index(text) for text in row["options"])
    row["answer"] = "A" if (second - first) % 7 in (1, 2, 4) else "B"


def hint_in_question(row, number, rng):
    row["question"] += f" Case {'abcdefg'[LABELS.index(right_text(row))]}2."


def hint_in_first_frame(row, number, rng):
    row["frames"][0] = noise(rng, low=30 * LABELS.index(right_text(row)))


def hint_in_last_frame(row, number, rng):
    row["frames"][2] = noise(rng, low=30 * LABELS.index(right_text(row)))


def mostly_a(row, number, rng):
    if number % 3:
        place = OPTION_LETTERS.index(row["answer"])
        row["options"][0], row["options"][place] = row["options"][place], row["options"][0]
        row["answer"] = "A"


def never_none(row, number, rng):
    wrong = [place for place in range(4) if OPTION_LETTERS[place] != row["answer"]]
    if number % 4 == 0:
        row["options"][wrong[0]] = "None of these"


def same_source(row, number, rng):
    row["source"] = f"clip-{number % 200}.mp4"


def failed(report):
    return {gate.name for gate in report.failed}


@pytest.mark.medium
def test_rows_without_a_give_away_pass(tmp_path):
    report = check_dataset(write(tmp_path / "data", make_rows()))
    assert {gate.outcome for gate in report.gates} == {"pass"}
    assert len(report.gates) == 11 and report.verdict == "all gates passed"


@pytest.mark.slow
@pytest.mark.parametrize(
    "change,gates",
    [
        (win_by_pair, {"options alone", "question, options"}),
        (hint_in_question, {"question, options"}),
        (hint_in_first_frame, {"first frame"}),
        (hint_in_last_frame, {"last frame"}),
        (mostly_a, {"options alone", "question, options", "balance of letters"}),
        (never_none, {"balance of answers", "texts never right"}),
        (same_source, {"sources in two splits"}),
    ],
)
def test_a_give_away_fails_its_gate(tmp_path, change, gates):
    assert failed(check_dataset(write(tmp_path / "data", make_rows(change=change)))) == gates


@pytest.mark.slow
def test_an_answer_that_is_right_too_often_fails_the_balance(tmp_path):
    rows = make_rows()
    for row in rows:
        if "Stay" in row["options"]:
            row["answer"] = OPTION_LETTERS[row["options"].index("Stay")]
    report = check_dataset(write(tmp_path / "data", rows))
    assert {"options alone", "balance of answers"} <= failed(report)
    (gate,) = (gate for gate in report.gates if gate.name == "balance of answers")
    assert "Stay is right in 100.0 % of the questions that offer it" in str(report).replace("\n", " ")
    assert gate.found == pytest.approx(1.0) and gate.chance == pytest.approx(0.25)


@pytest.mark.medium
def test_copies_in_two_splits_are_found(tmp_path):
    """Byte by byte, and when they were encoded and scaled again."""
    rows = make_rows()
    rng = np.random.default_rng(1)
    scene = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((96, 72), Image.Resampling.BICUBIC)
    rows[0]["frames"] = [scene, scene.rotate(5), scene.rotate(10)]
    rows[100]["frames"] = [frame.resize((64, 48)) for frame in rows[0]["frames"]]
    rows[200]["frames"] = rows[1]["frames"]
    report = check_dataset(write(tmp_path / "data", rows))
    assert failed(report) == {"clips in two splits", "near-duplicates"}
    told = " ".join(str(report).split())
    assert "rows of two splits look the same: row-0 and row-100" in told
    assert "rows of two splits show the same frames: row-200 and row-1." in told


@pytest.mark.medium
def test_what_a_model_remembers_of_a_source_is_no_give_away(tmp_path):
    """Twelve sources, each with its own brightness and answer: known sources give answers away, new ones do not."""

    def from_twelve(row, number, rng):
        row["source"] = f"clip-{number % 12}.mp4"
        row["options"], row["answer"] = list(LABELS[:4]), "ABCD"[(number % 12 * 7 + number % 12 // 4) % 4]
        row["frames"] = [noise(rng, low=20 * (number % 12)) for _ in range(3)]

    rows = make_rows(change=from_twelve)
    report = check_dataset(write(tmp_path / "data", rows, held_out=0))
    assert not {name for name in failed(report) if "frame" in name}


@pytest.mark.slow
@pytest.mark.parametrize("options", [2, 3, 7])
def test_other_numbers_of_options_have_their_own_chance(tmp_path, options):
    report = check_dataset(write(tmp_path / "data", make_rows(options=options)))
    assert not report.failed
    chances = [gate.chance for gate in report.gates if gate.chance is not None]
    assert chances == pytest.approx([1 / options] * len(chances)) and len(chances) == 7


def test_few_rows_are_told_and_not_tested(tmp_path):
    report = check_dataset(write(tmp_path / "data", make_rows(99, hint_in_first_frame)))
    assert not report.failed
    assert {gate.outcome for gate in report.gates} == {"not tested", "pass"}
    assert "99 rows are too few to be tested for give-aways" in str(report)


def test_few_rows_with_a_copy_fail_all_the_same(tmp_path):
    rows = make_rows(20)
    rows[19]["source"] = rows[0]["source"]
    assert failed(check_dataset(write(tmp_path / "data", rows, held_out=5))) == {"sources in two splits"}


def test_rows_of_few_sources_are_not_tested(tmp_path):
    def from_three(row, number, rng):
        row["source"] = f"clip-{number % 3}.mp4"

    report = check_dataset(write(tmp_path / "data", make_rows(change=from_three), held_out=0))
    untested = {gate.name for gate in report.gates if gate.outcome == "not tested"}
    assert {"options alone", "first frame"} <= untested and "fewer than 5 sources" in str(report)


@pytest.mark.slow
def test_tasks_are_tested_apart_and_small_ones_together(tmp_path):
    rows = make_rows(140) + make_rows(60, task="pan", seed=1) + make_rows(60, task="tilt", seed=2)
    for number, row in enumerate(rows):
        row |= {"id": f"row-{number}", "source": f"clip-{number}.mp4"}
    report = check_dataset(write(tmp_path / "data", rows))
    rows_of = {gate.group: gate.rows for gate in report.gates if gate.name == "options alone"}
    assert rows_of == {"camera_motion": 140, "other tasks": 120}


@pytest.mark.medium
def test_configurations_with_the_same_rows_count_once(tmp_path):
    rows = make_rows(150)
    folder = tmp_path / "data"
    folder.mkdir()
    extra = {"response": "<answer>A</answer>", "imagery": [], "imagery_timestamps": [], "imagery_masks": []}
    write_dataset({"dift": {"train": [row | extra for row in rows]}, "grpo": {"train": rows}}, folder)
    assert {gate.rows for gate in check_dataset(folder).gates} == {150}


@pytest.mark.slow
def test_the_same_folder_gives_the_same_report_in_80_columns(tmp_path):
    folder = write(tmp_path / "data", make_rows(change=hint_in_first_frame))
    first = str(check_dataset(folder))
    assert first == str(check_dataset(folder))
    assert max(map(len, first.splitlines())) <= 80


def test_the_card_keeps_its_text_and_has_one_section(tmp_path):
    folder = write(tmp_path / "data", make_rows(20), held_out=5)
    card = folder / "README.md"
    before = card.read_text()
    report = check_dataset(folder)
    for _ in range(2):
        write_section(folder, report)
    after = card.read_text()
    assert after.startswith(before.rstrip("\n")) and after.count("## Gates") == 1 and str(report) in after
    assert str(check_dataset(folder)) == str(report), "the card's header still names the files"


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(InputError, match="no dataset folder"):
        check_dataset(tmp_path)
