"""MLLM4D-Bench (arXiv 2603.00515): distances and directions, in metres, between two frames of a video.

Its labels are not public. Rows are read from records in the format of MLLM-4D's training files, which whoever has the
labels can write; `build-data --source world --questions mllm4d --records` writes such records about rendered clips.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ...modeling.chat_messages import first_exchange, strip_media_tags
from ...modeling.errors import InputError
from ...modeling.listed_options import split_options
from ...modeling.records import parse_structure
from ...modeling.row_rules import name_row
from ..benchmark import Benchmark, FramePolicy
from .published import answer_letter, hub_path, list_options, option_texts, pick, read_table, type_name, video_file

TYPES = (
    "camera_absolute_distance",
    "camera_relative_direction",
    "object_absolute_distance",
    "object_camera_absolute_distance",
    "object_camera_relative_distance",
    "object_camera_relative_direction",
)
# Other names of the types: those of the rendered world's questions, and one of the benchmark's description.
_SAME_TYPE = {
    "camera_distance": TYPES[0],
    "camera_direction": TYPES[1],
    "object_distance": TYPES[2],
    "object_camera_distance": TYPES[3],
    "object_camera_change": TYPES[4],
    "object_camera_sideways": TYPES[5],
    "object_camera_forward": TYPES[5],
    "object_relative_direction": TYPES[5],
}
# A record names no type, but each type has a wording of its own; the first that fits.
_WORDING = (
    (TYPES[0], r"how far\b.{0,40}\bdid the camera move"),
    (TYPES[2], r"how far\b.{0,40}\bdid\b.{1,400}\bmove"),
    (TYPES[1], r"camera's\b.{0,80}\b(?:translation|movement)\b|translation of the camera"),
    (TYPES[3], r"distance\b.{0,40}\bbetween the camera\b.{1,400}\bnearest point"),
    (TYPES[4], r"distance between\b.{1,400}\bgetting (?:closer|farther)"),
    (TYPES[5], r"\bgetting (?:closer|farther|left|right)\b.{1,200}\brelative to (?:the )?camera's position"),
)
_SUFFIXES = (".jsonl", ".json")


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of all record files in a folder.

    Args:
        folder (`Path`): Holds `.jsonl` or `.json` files of records: `messages` (the question with its options, as the
            user says it), `videos` (one path below the folder) and `solution` (`answer`, and where camera and object
            are: `camera_center`, `object_center`). A record may also name its `id`, `type` and `options`.

    Returns:
        `list[dict]`: Rows with `id`, `task`, `question`, `options`, `answer`, `video`, `camera_centers` and
        `object_centers` (for each of the two frames `[x, y, z]` in metres, or null).

    Raises:
        InputError: If there is no such file, or a record is not of this shape; the line names it.
    """
    files = [path for suffix in _SUFFIXES for path in sorted(folder.glob(f"*{suffix}"))]
    if not files:
        raise InputError(f"{folder} holds no .jsonl or .json file of records")
    return [
        _read(published, folder, f"{path.stem}-{number}")
        for path in files
        for number, published in enumerate(read_table(path), start=1)
    ]


def prompt(question: str, options: Sequence[str]) -> str:
    """The wording that MLLM-4D is evaluated with after reinforcement learning."""
    return (
        f"\n{question}\nOptions: {list_options('{}: {}', options)}\n"
        "Output the thinking process in <thinking> </thinking> and final answer in <answer> </answer> tags."
    )


def _read(published: Mapping[str, Any], folder: Path, name: str) -> dict[str, Any]:
    row = {"id": str(pick(published, "id", default=name))}
    with name_row(row):
        question, options = _question(published)
        solution = _solution(published)
        return {
            **row,
            "task": _type_of(published, question),
            "question": question,
            "options": options,
            "answer": answer_letter(pick(solution, "answer"), options),
            "video": _video(published, folder),
            "camera_centers": _centers(solution, "camera_center"),
            "object_centers": _centers(solution, "object_center"),
        }


def _question(published: Mapping[str, Any]) -> tuple[str, list[str]]:
    turn = first_exchange(parse_structure(pick(published, "messages", "conversations")), "messages").question
    if not turn:
        raise InputError("messages has no question of a user")
    question, options, _ = split_options(strip_media_tags(turn))
    offered = pick(published, "options", "choices", default=None)
    if offered is not None:
        options = option_texts(offered)
    if len(options) < 2:
        raise InputError("the question lists no options: write one a line, as `A. 1.5 m`")
    return question, options


def _solution(published: Mapping[str, Any]) -> Mapping[str, Any]:
    solution = parse_structure(pick(published, "solution"))
    if isinstance(solution, Sequence) and not isinstance(solution, str) and len(solution) == 1:
        solution = solution[0]
    if not isinstance(solution, Mapping):
        raise InputError(f"solution is {solution!r:.80}: write a list of one object with answer")
    return solution


def _centers(solution: Mapping[str, Any], name: str) -> list[Any]:
    return list(pick(solution, name, default=[None, None]))


def _type_of(published: Mapping[str, Any], question: str) -> str:
    named = pick(published, "type", "question_type", "task", default=None)
    if named is not None:
        return _SAME_TYPE.get(type_name(str(named)), type_name(str(named)))
    found = (task for task, wording in _WORDING if re.search(wording, question, re.IGNORECASE | re.DOTALL))
    task = next(found, None)
    if task is None:
        raise InputError(f"of which type is the question {question!r:.120}? name it in a column type")
    return task


def _video(published: Mapping[str, Any], folder: Path) -> str:
    videos = parse_structure(pick(published, "videos", "video"))
    videos = [videos] if isinstance(videos, str) else list(videos)
    if len(videos) != 1 or not isinstance(videos[0], str):
        raise InputError(f"videos is {videos!r:.120}: name one video file")
    path = PurePosixPath(hub_path(videos[0]))
    # Of a path of somebody else's machine as much of its end as there is below the folder, else the name alone.
    ends = [str(PurePosixPath(*path.parts[start:])) for start in range(1, len(path.parts))]
    name = next((end for end in ends if (folder / end).is_file()), path.name) if path.is_absolute() else str(path)
    return video_file(folder, name, ("", "videos"))


BENCHMARKS = (
    Benchmark(
        name="mllm4d_bench",
        read=read_rows,
        types=TYPES,
        variable="MLLM4D_BENCH_ROOT",
        cache_name="mllm4d_bench",
        contents="records in the format of MLLM-4D's training files (.jsonl) and their videos",
        prompt=prompt,
        frames=FramePolicy(max_frames=32),
        rule="answer_block",
        max_new_tokens=4096,
    ),
)
