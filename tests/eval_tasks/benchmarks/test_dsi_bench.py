"""DSI-Bench in its published shape: four tables, options in one string, spaces in paths, categories as numbers."""

import csv

import pytest

from fourdthinker.eval_tasks.benchmarks.dsi_bench import (
    GROUP_SUMMARIES,
    TYPES,
    VARIANTS,
    group_accuracy,
    prompt,
    read_rows,
    read_variant,
)
from fourdthinker.eval_tasks.report.build import build_report
from fourdthinker.eval_tasks.tasks import benchmark_rows, find_benchmark
from fourdthinker.modeling.errors import InputError

COLUMNS = ("relative_path", "cate", "video_type", "question", "options", "GT", "others")


def published(**columns):
    return {
        "relative_path": "CameraBench/a walk.mp4",
        "cate": "0",
        "video_type": "0.0",
        "question": "Which way does the dog go, seen from the camera?",
        "options": "A: to the left;B: to the right;C: it stays;D: away, then back",
        "GT": "B",
        "others": "",
        **columns,
    }


@pytest.fixture
def write(tmp_path):
    def write(rows, variants=VARIANTS):
        (tmp_path / "metadatas").mkdir(exist_ok=True)
        for variant in variants:
            with open(tmp_path / "metadatas" / f"{variant}.csv", "w", newline="", encoding="utf-8-sig") as file:
                writer = csv.DictWriter(file, COLUMNS)
                writer.writeheader()
                writer.writerows(rows)
        return tmp_path

    return write


def test_a_row_in_full(write, make_video):
    folder = write([published()], ["std"])
    (folder / "videos/std/CameraBench").mkdir(parents=True)
    made = make_video(folder / "videos/std/CameraBench/a walk.mp4", seconds=1)
    assert read_variant(folder, "std") == [
        {
            "id": "std-0",
            "task": "object_static_camera",
            "question": "Which way does the dog go, seen from the camera?",
            "options": ["to the left", "to the right", "it stays", "away, then back"],
            "answer": "B",
            "video": made,
            "variant": "std",
            "group": 0,
            "video_id": "CameraBench/a walk.mp4",
            "source": "CameraBench",
        }
    ]


def test_variants_of_a_question_stand_together_and_have_videos_of_their_own(write):
    folder = write([published(), published(relative_path="k700/b.mp4", GT="A")])
    rows = read_rows(folder)
    assert [row["id"] for row in rows] == [f"{variant}-{number}" for number in range(2) for variant in VARIANTS]
    assert [row["group"] for row in rows] == [0] * 4 + [1] * 4
    assert len({row["video"] for row in rows}) == 8
    assert rows[5]["video"] == str(folder / "videos/hflip/k700/b.mp4")


def test_every_variant_has_keys_of_its_own(write):
    write([published()], ["std", "reverse"])
    folder = write([published(GT=" A ")], ["hflip", "reverse_hflip"])
    assert [row["answer"] for row in read_rows(folder)] == ["B", "A", "B", "A"]


def test_numbers_of_categories_may_be_floats(write):
    folder = write([published(cate=f"{number}.0") for number in range(6)], ["std"])
    assert tuple(row["task"] for row in read_variant(folder, "std")) == TYPES


def test_stray_separators_offer_nothing(write):
    folder = write([published(options="A: left; B: right;;C: up; D: down;")], ["std"])
    assert read_variant(folder, "std")[0]["options"] == ["left", "right", "up", "down"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"cate": "6"}, "row std-0: unknown type of question '6': cate goes from 0 to 5"),
        ({"cate": "1.5"}, "row std-0: unknown type of question '1.5'"),
        ({"cate": "camera"}, "row std-0: unknown type of question 'camera'"),
        ({"options": "left or right"}, "row std-0: options is 'left or right'"),
        ({"GT": ""}, "row std-0: no column GT"),
        ({"relative_path": "../b.mp4"}, "row std-0: video '../b.mp4' leaves the data folder"),
    ],
)
def test_rows_of_another_shape_are_named(write, columns, words):
    with pytest.raises(InputError, match=words):
        read_rows(write([published(**columns)]))


def test_tables_that_do_not_match_are_an_error(write):
    folder = write([published(), published()])
    write([published()], ["reverse"])
    with pytest.raises(InputError, match="the variants have different numbers of rows"):
        read_rows(folder)
    write([published(), published(relative_path="k700/b.mp4")], ["reverse"])
    with pytest.raises(InputError, match="row 1 is about CameraBench/a walk.mp4 and k700/b.mp4"):
        read_rows(folder)
    (folder / "metadatas/hflip.csv").unlink()
    with pytest.raises(InputError, match="holds no metadatas/hflip.csv"):
        read_rows(folder)


def judged(group, scores, task="object_static_camera"):
    return [{"group": group, "task": task, "score": score} for score in scores]


def test_three_of_four_variants_must_be_right():
    rows = [*judged(0, [1, 1, 1, 0]), *judged(1, [1, 1, 0, 0]), *judged(2, [1, 1, 1, 1], "object_camera_distance")]
    assert group_accuracy(rows) == pytest.approx(2 / 3)
    assert GROUP_SUMMARIES["group_object_static_camera"](rows) == pytest.approx(1 / 2)
    assert GROUP_SUMMARIES["group_object_camera_distance"](rows) == 1.0
    assert GROUP_SUMMARIES["group_camera_static_scene"](rows) is None


def test_the_order_of_rows_does_not_matter_and_part_of_a_group_does_not_count():
    rows = [*judged(0, [1, 1, 1, 0]), *judged(1, [0, 0, 0, 0])]
    assert group_accuracy(rows[::-1]) == group_accuracy(rows) == 0.5
    assert group_accuracy(rows[:-1]) == 1.0
    assert group_accuracy(rows[:3]) is None


def test_the_prompt_puts_the_options_on_the_line_of_the_question():
    text = prompt("Which way?", ["left", "right"])
    assert text.endswith("<answer>[A, B, C, or D]</answer>\n\nQuestion:\nWhich way? A: left;B: right")


def test_the_report_gives_the_group_wise_score(write, monkeypatch):
    monkeypatch.setenv("DSI_BENCH_ROOT", str(write([published(), published(cate="1", GT="A")])))
    benchmark = find_benchmark("dsi_bench")
    rows = [dict(row) for row in benchmark_rows(benchmark, need_videos=False)]
    answers = ["<answer>B</answer>", "<answer>B</answer>", "B", "<answer>C</answer>"] * 2
    report = build_report(
        [{**row, "response": answer} for row, answer in zip(rows, answers, strict=True)],
        benchmark.rule,
        summaries=benchmark.summaries,
    )
    assert report["accuracy"] == 3 / 8
    assert report["strict"]["accuracy"] == 2 / 8
    assert report["summaries"] == {
        "macro_accuracy": 3 / 8,
        "group_accuracy": 1 / 2,
        "group_object_static_camera": 1.0,
        "group_object_moving_camera": 0.0,
    }
    # The four variants of a clip are one video to the intervals.
    assert report["videos"] == 1
