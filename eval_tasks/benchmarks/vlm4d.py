"""VLM4D (arXiv 2508.02095): which way things move, in real and in generated videos."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ...modeling.errors import InputError
from ...modeling.row_rules import name_row
from ..benchmark import Benchmark, FramePolicy
from .published import (
    answer_letter,
    as_text,
    find_file,
    hub_path,
    list_options,
    option_texts,
    pick,
    read_table,
    video_file,
)

Part = Literal["real", "synthetic"]

TYPES: dict[Part, tuple[str, str]] = {
    "real": ("exocentric", "egocentric"),
    "synthetic": ("directional", "false_positive"),
}
# The official table draws the line between the viewpoints by the number in the id.
LAST_EXOCENTRIC = 922
_NUMBER = re.compile(r"(\d+)\s*\Z")
# The published name is a URL, and copies of the rows name folders of their own machine before this.
_VIDEO = re.compile(r"(?:\A|/)(videos_(?:real|synthetic)/.+)")


def read_part(folder: Path, part: Part) -> list[dict[str, Any]]:
    """Read the rows of one part.

    The key is the text of an option, which in the published file may be a number. Two options may have the same text;
    then both are right, so that the text of the chosen one has to be compared with the key's.

    Args:
        folder (`Path`): Holds `real_mc.json` or `synthetic_mc.json`, by itself or in `QA/`, and the folders
            `videos_real` and `videos_synthetic`.
        part (`str`): `"real"` or `"synthetic"`.

    Returns:
        `list[dict]`: Rows with `id`, which is unique within a part alone, `task`, `question`, `options`, `answer`,
        `video` and `part`.

    Raises:
        InputError: If the file is missing, or a row is not of the published shape; the line names the row.
    """
    name = f"{part}_mc.json"
    rows: dict[str, dict] = {}
    for published in read_table(find_file(folder, (name, f"QA/{name}"))):
        row = {"id": as_text(pick(published, "id"))}
        with name_row(row):
            if row["id"] in rows:
                raise InputError("there are two rows of this id: download the file again")
            options = option_texts(pick(published, "choices", "options"))
            answer = pick(published, "answer")
            rows[row["id"]] = {
                **row,
                "task": _type_of(row["id"], as_text(answer), part),
                "question": pick(published, "question"),
                "options": options,
                "answer": answer_letter(answer, options),
                "video": video_file(folder, _path_of(published), ("",)),
                "part": part,
            }
    return list(rows.values())


def direct_prompt(question: str, options: Sequence[str]) -> str:
    """The official wording for an answer without reasoning."""
    return (
        f"\nQuestion: {question}\n{list_options('{}: {}', options)}\n\n"
        "Do not generate any intermediate reasoning process. Answer directly with the option letter from the given "
        "choices.\n"
    )


def cot_prompt(question: str, options: Sequence[str]) -> str:
    """The official wording for a chain of thought."""
    return (
        f"\nQuestion: {question}\n{list_options('{}: {}', options)}\n\n"
        "Answer the given multiple-choice question step by step. Begin by explaining your reasoning process clearly. "
        "In the last sentence of your response, you must conclude by stating the final answer using the following "
        "format: 'Therefore, the final answer is: $LETTER' (without quotes), where $LETTER must be only one of the "
        "options (A or B or C or D). Think step by step before answering."
    )


def _type_of(name: str, answer: str, part: Part) -> str:
    if part == "synthetic":
        answer = answer.casefold()
        return "false_positive" if answer == "no" or answer.startswith("no ") else "directional"
    number = _NUMBER.search(name)
    if number is None:
        raise InputError("its id has no number, which says whether the video is egocentric")
    return "exocentric" if int(number[1]) <= LAST_EXOCENTRIC else "egocentric"


def _path_of(published: Mapping[str, Any]) -> str:
    name = hub_path(as_text(pick(published, "video")))
    match = _VIDEO.search(name)
    if match is None:
        raise InputError(f"its video {name!r:.200} is in neither videos_real nor videos_synthetic")
    return match[1]


_DIRECT = tuple(
    Benchmark(
        name=f"vlm4d_{part}",
        read=partial(read_part, part=part),
        types=types,
        variable="VLM4D_ROOT",
        dataset="shijiezhou/VLM4D",
        cache_name="vlm4d",
        contents="QA/real_mc.json, QA/synthetic_mc.json, videos_real and videos_synthetic",
        prompt=direct_prompt,
        # The official scripts leave the number of frames to each model; 32 is what MLLM-4D and DSR Suite show.
        frames=FramePolicy(max_frames=32),
        rule="vlm4d",
        max_new_tokens=1024,
        # lmms-eval would pool every summary with `accuracy` in its name over the group as it pools the accuracies.
        summaries={},
        group="vlm4d",
    )
    for part, types in TYPES.items()
)
BENCHMARKS = (
    *_DIRECT,
    *(replace(part, name=f"{part.name}_cot", prompt=cot_prompt, group="vlm4d_cot") for part in _DIRECT),
)
