"""Read answers that were made elsewhere, and put them to the rows of a benchmark."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...modeling.errors import InputError
from ...modeling.text_files import json_object, read_text, text_lines

_QUESTION = ("id", "task", "options", "answer")


@dataclass(frozen=True)
class Answer:
    """One entry of a file of answers.

    Attributes:
        row (`str` or `int`): The `id` of its row, or for lmms-eval's sample files the row's number.
        response (`str`, *optional*): What was answered; `None` where the question was not asked.
        place (`str`): Where it stands, for messages.
        target (`str`, *optional*): The key that lmms-eval wrote beside it.
        entry (`Mapping`): The whole entry.
    """

    row: str | int
    response: str | None
    place: str
    target: str | None
    entry: Mapping[str, Any]


def read_answers(path: str | Path) -> list[Answer]:
    """Read a JSONL file or a JSON list of answers.

    An entry has `id` and `response`, as `fourdthinker eval --answers` writes them, or is one of lmms-eval's sample
    files (`--log_samples`), with `doc_id` and `resps` or `filtered_resps`.

    Raises:
        InputError: If the file is something else; the line names the entry.
    """
    path = Path(path)
    answers = [_answer(entry, place) for place, entry in _entries(path)]
    if not answers:
        raise InputError(f"{path} holds no answers: give a JSONL file with `id` and `response` in each line")
    return answers


def own_questions(answers: Sequence[Answer]) -> list[dict]:
    """The rows that a file of answers brings itself, each with its `response`.

    Raises:
        InputError: If an entry lacks the question's columns.
    """
    for answer in answers:
        if missing := [name for name in _QUESTION if name not in answer.entry]:
            raise InputError(f"{answer.place} has no {', '.join(missing)}: name the questions by --task or --dataset")
    return [{**answer.entry, "response": answer.response} for answer in answers]


def join_answers(rows: Sequence[Mapping], answers: Sequence[Answer]) -> list[dict]:
    """The rows with their responses, in the order of the rows; a row that no answer belongs to has `None`.

    Args:
        rows (`Sequence[Mapping]`): Rows with `id` and `answer`.
        answers (`Sequence[Answer]`): What `read_answers` returned.

    Raises:
        InputError: If an answer belongs to no row, two belong to one, or a key is another than the row's.
    """
    rows = [dict(row) for row in rows]
    numbers: dict[str | int, int] = {str(row["id"]): number for number, row in enumerate(rows)}
    numbers |= {number: number for number in range(len(rows))}
    responses: dict[int, str | None] = {}
    for answer in answers:
        number = numbers.get(answer.row)
        if number is None:
            raise InputError(
                f"{answer.place} answers {answer.row!r}, which is none of the {len(rows)} questions: name the task "
                "that it was made for, and the same --limit"
            )
        if number in responses:
            raise InputError(f"{answer.place} answers {answer.row!r} again: give one answer for each question")
        if answer.target is not None and answer.target != rows[number]["answer"]:
            raise InputError(
                f"{answer.place} was made for other questions: its key is {answer.target!r:.80}, that of "
                f"{rows[number]['id']} is {rows[number]['answer']!r}"
            )
        responses[number] = answer.response
    return [{**row, "response": responses.get(number)} for number, row in enumerate(rows)]


def _entries(path: Path) -> list[tuple[str, Any]]:
    lines = list(text_lines(path))
    if not lines or not lines[0][1].lstrip().startswith("["):
        places = ((f"{path}, line {number}", line) for number, line in lines)
        return [(place, json_object(line, place)) for place, line in places]
    try:
        listed = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}): give a JSON list of answers, or a JSONL file") from error
    return [(f"{path}, entry {number}", entry) for number, entry in enumerate(listed, start=1)]


def _answer(entry: Any, place: str) -> Answer:
    if not isinstance(entry, Mapping):
        raise InputError(f"{place} is {entry!r:.80}: write an object with `id` and `response`")
    if "response" in entry and entry.get("id") is not None:
        row, response, target = str(entry["id"]), entry["response"], None
    elif "doc_id" in entry and ("resps" in entry or "filtered_resps" in entry):
        row, response, target = entry["doc_id"], entry.get("resps", entry.get("filtered_resps")), entry.get("target")
        while isinstance(response, list) and response:
            response = response[0]
    else:
        raise InputError(f"{place} has no `id` with a `response`, nor lmms-eval's `doc_id` with `filtered_resps`")
    if not (response is None or isinstance(response, str)):
        raise InputError(f"{place} has the response {response!r:.80}: write a text, or null where there is none")
    return Answer(row, response, place, target if isinstance(target, str) else None, entry)
