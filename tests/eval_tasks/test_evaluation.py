"""Evaluations under controls, with models whose answers depend on a known part of the question."""

import json
from functools import partial

import pytest
from datasets import Dataset
from PIL import Image

from fourdthinker.cli.main import main
from fourdthinker.eval_tasks import fourd_world
from fourdthinker.eval_tasks.benchmark import Benchmark, FramePolicy
from fourdthinker.eval_tasks.evaluation import Shown, all_controls, evaluate
from fourdthinker.eval_tasks.predict import predict
from fourdthinker.eval_tasks.report.table import describe_worth
from fourdthinker.eval_tasks.shown_frames import describe_frames
from fourdthinker.eval_tasks.unanswered import MISSING_VIDEO, UNREADABLE_VIDEO
from fourdthinker.modeling.errors import InputError

COLOURS = ["red", "lime", "blue", "white"]


def colour_frame(colour: str | tuple) -> Image.Image:
    return Image.new("RGB", (4, 4), colour)


@pytest.fixture(scope="module")
def rows():
    """What colour comes last? The first frame is another black in each clip, and each clip is asked about twice."""
    made = []
    for number in range(80):
        colour = COLOURS[(number // 2) % 4]
        made.append(
            {
                "id": f"q{number}",
                "task": "colour" if number % 2 else "shade",
                "question": "What comes last?",
                "options": COLOURS,
                "answer": "ABCD"[(number // 2) % 4],
                "frames": [colour_frame((number // 2, 0, 0)), colour_frame(colour)],
                "timestamps": [0.0, 1.0 + number // 2],
            }
        )
    return Dataset.from_list(made)


def seeing(rows, standing_still=False, **settings):
    """A model that looks: it names the last frame's colour, or A where there is nothing to see."""
    responses = []
    for row in rows:
        frames = row["frames"][:1] if standing_still else row["frames"]
        found = [
            colour
            for colour in COLOURS
            if frames and frames[-1].getpixel((0, 0)) == colour_frame(colour).getpixel((0, 0))
        ]
        place = row["options"].index(found[0]) if found else 0
        responses.append(f"<answer>{'ABCD'[place]}</answer>")
    return responses


def blind(rows, **settings):
    """A model that does not look and always says B."""
    return ["<answer>B</answer>"] * len(rows)


def test_controls_tell_a_model_that_looks_from_one_that_does_not(rows):
    looked = evaluate(seeing, rows, controls=all_controls()).report
    assert looked["accuracy"] == 1.0
    accuracies = {name: control["accuracy"] for name, control in looked["controls"].items()}
    assert accuracies["options shuffled"] == 1.0
    assert accuracies["video none"] == accuracies["video first"] == 0.25
    assert accuracies["video shuffled"] < 0.5
    assert "The video is worth +75.0 points" in describe_worth(looked)
    guessed = evaluate(blind, rows, controls=all_controls()).report
    assert guessed["controls"]["video none"]["own_minus_control"]["difference"] == 0
    assert "do not show that it is worth anything" in describe_worth(guessed)


def test_a_control_that_the_rows_do_not_allow_leaves_the_others(rows, caplog):
    one_clip = rows.select([0, 1])
    report = evaluate(seeing, one_clip, controls=all_controls()).report
    assert set(report["controls"]) == {"video none", "video first", "options shuffled"}
    assert "about one video" in report["controls_left_out"]["video shuffled"]
    assert "video shuffled is left out" in caplog.text


def test_intervals_know_that_questions_share_clips(rows):
    evaluation = evaluate(seeing, rows, controls=[Shown("none")])
    assert evaluation.report["videos"] == 40
    assert evaluation.report["controls"]["video none"]["own_minus_control"]["interval_method"].endswith("by video")


def test_a_single_control_is_marked_in_the_report(rows):
    evaluation = evaluate(seeing, rows, shown=Shown("none", "shuffled", seed=5))
    assert evaluation.report["input"] == {"video": "none", "options": "shuffled", "seed": 5}
    (name,) = evaluation.answers
    assert name == "video none, options shuffled"
    letters = [row["answer"] for row in evaluation.answers[name]]
    assert letters != list(rows["answer"]) and len(letters) == 80


def test_rows_whose_video_cannot_be_shown_are_not_asked_under_controls_either(rows):
    def half(shown, **settings):
        hidden = {"q0": MISSING_VIDEO, "q1": UNREADABLE_VIDEO}
        return [
            hidden.get(row["id"], response) for row, response in zip(shown, seeing(shown, **settings), strict=True)
        ]

    report = evaluate(half, rows, controls=[Shown("none")], skip_missing=True).report
    assert (report["n"], report["missing"], report["unreadable"]) == (78, 1, 1)
    control = report["controls"]["video none"]
    assert (control["n"], control["missing"], control["own_minus_control"]["n"]) == (78, 1, 78)
    with pytest.raises(InputError, match="none of the videos could be shown"):
        evaluate(lambda shown, **settings: [MISSING_VIDEO] * len(shown), rows, controls=[Shown("none")])


def test_rows_without_an_answer_are_asked_again(rows):
    calls = []

    def hesitant(shown, sampling=None, sample=0, **settings):
        calls.append((len(shown), sample))
        answers = seeing(shown, **settings)
        # Every fourth row needs three samples.
        return [
            "I cannot tell." if int(row["id"][1:]) % 4 == 0 and sample < 3 else answer
            for row, answer in zip(shown, answers, strict=True)
        ]

    once = evaluate(hesitant, rows).report
    assert (once["parse_failures"], once["accuracy"]) == (20, 0.75) and "ask_again" not in once
    calls.clear()
    again = evaluate(hesitant, rows, ask_again=10).report
    assert (again["parse_failures"], again["accuracy"]) == (0, 1.0)
    assert again["ask_again"] == {"times": 10, "rows": 20}
    assert calls == [(80, 0), (20, 1), (20, 2), (20, 3)]
    given_up = evaluate(hesitant, rows, ask_again=2).report
    assert (given_up["parse_failures"], given_up["ask_again"]["rows"]) == (20, 20)


def test_a_benchmark_is_read_by_its_own_rule_beside(rows):
    benchmark = Benchmark("b", read=lambda folder: rows, types=("colour", "shade"), variable="B", rule="dyn_bench")
    report = evaluate(lambda shown, **settings: ["A."] * len(shown), rows, benchmark).report
    assert report["strict"]["rule"] == "dyn_bench" and report["strict"]["accuracy"] == report["accuracy"] == 0.25


@pytest.fixture
def own_rows(world_folder):
    return fourd_world.read_rows(world_folder)


@pytest.mark.medium
def test_a_real_model_is_shown_what_the_control_says(talking, own_rows):
    ask = partial(predict, *talking, batch_size=4, max_new_tokens=8, progress=False)
    evaluation = evaluate(ask, own_rows, controls=all_controls())
    said = {name: [row["response"] for row in rows] for name, rows in evaluation.answers.items()}
    assert said.keys() == {"own", "video none", "video first", "video shuffled", "options shuffled"}
    assert len(set(map(tuple, said.values()))) == 5, "two inputs are answered alike, which tests nothing"
    # Without the video nothing is left that tells rows with equal questions apart.
    by_question = {}
    for row in evaluation.answers["video none"]:
        assert by_question.setdefault(row["question"], row["response"]) == row["response"]
    assert len(by_question) < len(own_rows)


@pytest.mark.medium
def test_asking_again_draws_other_answers_and_the_same_ones_every_time(talking, own_rows):
    ask = partial(predict, *talking, max_new_tokens=6, progress=False)
    first, second = (evaluate(ask, own_rows, ask_again=2, shown=Shown(seed=seed)) for seed in (0, 0))
    assert first.answers == second.answers
    once = evaluate(ask, own_rows)
    assert first.report["ask_again"]["rows"] == once.report["parse_failures"] > 0
    assert [row["response"] for row in first.answers["own"]] != [row["response"] for row in once.answers["own"]]


def test_frames_are_named_as_they_were_shown(talking, own_rows):
    _, processor = talking
    assert describe_frames(own_rows, FramePolicy(), "own", processor).startswith("4 to 6 of the rows' own, at most ")
    assert describe_frames(own_rows, FramePolicy(), "none", processor) == "no video"
    videos = [{"id": "q", "video": "a.mp4"}]
    # The decoder stops at 50 frames, whatever a benchmark leaves open.
    shown = describe_frames(videos, FramePolicy(fps=1.0, max_pixels=784), "first", processor)
    assert shown == "1 fps, at most 50 frames, at most 784 pixels a frame, the first of them repeated"


@pytest.mark.medium
def test_the_command_writes_what_score_reads_again(talking_model_folder, world_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FOURD_WORLD_DATA", str(world_folder))
    output, answers, picture = tmp_path / "scores.json", tmp_path / "answers.jsonl", tmp_path / "scores.png"
    arguments = ["eval", "--model", str(talking_model_folder), "--max-new-tokens", "4", "--controls"]
    arguments += ["--dtype", "bfloat16", "--output", str(output), "--answers", str(answers), "--picture", str(picture)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "video shuffled" in printed and "The video is worth" in printed and "frames: 4 to 6" in printed
    report = json.loads(output.read_text())["tasks"]["fourd_world"]
    assert report["settings"]["decoding"] == "greedy, at most 4 new tokens"
    assert report["settings"]["dtype"] == "bfloat16"
    assert report["controls"].keys() == {"video none", "video first", "video shuffled", "options shuffled"}
    assert picture.stat().st_size > 5000
    names = {path.name for path in tmp_path.glob("*.jsonl")}
    controls = ("-video-none", "-video-first", "-video-shuffled", "-options-shuffled")
    assert names == {f"answers{control}.jsonl" for control in ("", *controls)}
    blind = tmp_path / "answers-video-none.jsonl"
    again = tmp_path / "again.json"
    assert main(["score", str(answers), "--task", "fourd_world", "--blind", str(blind), "--output", str(again)]) == 0
    scored = json.loads(again.read_text())["tasks"]["fourd_world"]
    assert scored["data"] == report["data"]
    for key in ("n", "correct", "interval", "strict", "tasks", "macro_interval"):
        assert scored[key] == report[key], key
    assert scored["controls"]["video none"] == report["controls"]["video none"]


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--video", "last"], "invalid choice: 'last'"),
        (["--controls", "--video", "none"], "--controls runs every --video and --options itself"),
        (["--ask-again", "-1"], "--ask-again must be 0 or more"),
        (["--seed", "-1"], "--seed must be between 0 and"),
        (["--max-new-tokens", "0"], "must be positive"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    try:
        code = main(["eval", "--model", "nowhere", *arguments])
    except SystemExit as exit:
        code = exit.code
    error = capsys.readouterr().err
    assert code == 2 and message in error and error.count("\n") == 1
