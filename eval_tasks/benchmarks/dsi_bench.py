"""DSI-Bench (arXiv 2510.18873): motion of objects and camera, each question also about the mirrored, the reversed and
the mirrored and reversed video."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...modeling.errors import InputError
from ...modeling.row_rules import name_row
from ..benchmark import Benchmark, FramePolicy, Summary, macro_accuracy
from .published import answer_letter, as_text, find_file, list_options, option_texts, pick, read_table, video_file

VARIANTS = ("std", "hflip", "reverse", "reverse_hflip")
# By the number in the column `cate`.
TYPES = (
    "object_static_camera",
    "object_moving_camera",
    "camera_static_scene",
    "camera_dynamic_scene",
    "object_camera_distance",
    "object_camera_orientation",
)
# A question counts in the group-wise score if at least this many of its four variants are right.
NEEDED = 3


def read_variant(folder: Path, variant: str) -> list[dict[str, Any]]:
    """Read the rows of one variant.

    Args:
        folder (`Path`): Holds `metadatas/<variant>.csv` and `videos/<variant>/`.
        variant (`str`): One of `VARIANTS`.

    Returns:
        `list[dict]`: Rows with `id`, `task`, `question`, `options`, `answer`, `video`, `variant`, `group` (number of
        the question, the same in all variants), `video_id` (path of
        the video, the same in all variants) and `source` (its first part, where the video comes from).

    Raises:
        InputError: If the table is missing, or a row is not of the published shape; the line names the row.
    """
    table = read_table(find_file(folder, (f"metadatas/{variant}.csv", f"{variant}.csv")))
    return [_read(published, folder, variant, number) for number, published in enumerate(table)]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of all variants, the four of a question together, so that any first part holds whole questions.

    Raises:
        InputError: As `read_variant` does, and if the variants do not ask the same questions in the same order.
    """
    tables = [read_variant(folder, variant) for variant in VARIANTS]
    counts = {variant: len(table) for variant, table in zip(VARIANTS, tables, strict=True)}
    if len(set(counts.values())) > 1:
        raise InputError(f"{folder}: the variants have different numbers of rows ({counts}): download them again")
    rows = []
    for group in zip(*tables, strict=True):
        if len(names := {row["video_id"] for row in group}) > 1:
            raise InputError(f"{folder}: row {group[0]['group']} is about {' and '.join(sorted(names))}")
        rows += group
    return rows


def prompt(question: str, options: Sequence[str]) -> str:
    """The official wording; the options stand on one line, as in the table."""
    listed = list_options("{}: {}", options, separator=";")
    return (
        "You are a vision-language expert.\n"
        "You are given a clip of video and your task is to answer a question about the video.\n"
        "You only need to provide *ONE* correct answer selecting from the options listed below. \n"
        "For example, if you think the correct answer is 'A' from 'A. Above B. Under C. Front D. Behind', \n"
        "your response should **only** be '<answer>A</answer>'.\n"
        "Please answer the question in this format strictly:\n"
        "<answer>[A, B, C, or D]</answer>\n"
        f"\nQuestion:\n{question} {listed}"
    )


def group_accuracy(rows: Sequence[Mapping[str, Any]], task: str | None = None) -> float | None:
    """The share of questions of which at least three of the four variants are answered correctly.

    Args:
        rows (`Sequence[Mapping]`): Judged rows: `group`, `task` and `score` (0 or 1).
        task (`str`, *optional*): Questions of this type alone.

    Returns:
        `float` or `None`: The share among the questions with all four variants in `rows`, or nothing without any.
    """
    groups = defaultdict(list)
    for row in rows:
        groups[row["group"]].append(row)
    # The first variant says of which type a question is, as in the official table.
    whole = [group for group in groups.values() if len(group) == len(VARIANTS) and task in (None, group[0]["task"])]
    right = sum(sum(row["score"] for row in group) >= NEEDED for group in whole)
    return right / len(whole) if whole else None


GROUP_SUMMARIES: dict[str, Summary] = {
    "group_accuracy": group_accuracy,
    **{f"group_{task}": partial(group_accuracy, task=task) for task in TYPES},
}


def _read(published: Mapping[str, Any], folder: Path, variant: str, number: int) -> dict[str, Any]:
    # The same path and question stand in all four tables.
    row = {"id": f"{variant}-{number}"}
    with name_row(row):
        name = as_text(pick(published, "relative_path", "video"))
        options = option_texts(pick(published, "options"))
        return {
            **row,
            "task": _type_of(as_text(pick(published, "cate"))),
            "question": pick(published, "question"),
            "options": options,
            "answer": answer_letter(pick(published, "GT", "answer"), options),
            "video": video_file(folder, name, (f"videos/{variant}",)),
            "variant": variant,
            "group": number,
            "video_id": name,
            "source": name.partition("/")[0],
        }


def _type_of(category: str) -> str:
    try:
        number = float(category)
    except ValueError:
        number = -1.0
    if number not in range(len(TYPES)):
        raise InputError(f"unknown type of question {category!r}: cate goes from 0 to {len(TYPES) - 1}")
    return TYPES[int(number)]


_ALL = Benchmark(
    name="dsi_bench",
    read=read_rows,
    types=TYPES,
    variable="DSI_BENCH_ROOT",
    dataset="Viglong/DSI-Bench",
    cache_name="dsi_bench",
    contents="metadatas/<variant>.csv and videos/<variant>/<relative_path>",
    prompt=prompt,
    frames=FramePolicy(fps=5.0),
    rule="dsi_bench",
    max_new_tokens=2048,
    summaries={"macro_accuracy": macro_accuracy, **GROUP_SUMMARIES},
)
BENCHMARKS = (
    _ALL,
    # One variant of four: sample-wise alone, and not comparable with the published scores over all four.
    replace(
        _ALL,
        name="dsi_bench_std",
        read=partial(read_variant, variant="std"),
        summaries={"macro_accuracy": macro_accuracy},
    ),
)
