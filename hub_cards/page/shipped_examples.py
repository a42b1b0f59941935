"""The examples that ship with the page: clips of the rendered world, with questions about them."""

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "examples"
_LIST = "examples.json"


@dataclass(frozen=True)
class Example:
    """A video with a question about it.

    Attributes:
        video (`Path`): The file.
        question (`str`): The question.
        options (`list[str]`): Answers to choose from.
    """

    video: Path
    question: str
    options: list[str]


def read_examples(folder: Path = FOLDER) -> list[Example]:
    """The examples in a folder, in order; none if there is no list of them."""
    path = folder / _LIST
    if not path.is_file():
        return []
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [Example(folder / one["video"], one["question"], one["options"]) for one in entries]


def write_list(folder: Path, examples: list[Example]) -> None:
    """Write the list that [`read_examples`] reads, beside the videos."""
    entries = [{"video": one.video.name, "question": one.question, "options": one.options} for one in examples]
    text = json.dumps(entries, indent=2, ensure_ascii=False)
    (folder / _LIST).write_text(text + "\n", encoding="utf-8")
