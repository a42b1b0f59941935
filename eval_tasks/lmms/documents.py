"""Functions that the task files name: prompt, frames and score of a row. Imports neither torch nor lmms_eval."""

from collections.abc import Mapping, Sequence

from ...modeling.prompts import question_text
from ...modeling.row_rules import name_row
from ..scores import is_correct


def doc_to_text(doc: Mapping, lmms_eval_specific_kwargs: Mapping | None = None) -> str:
    """The prompt, worded as in training."""
    with name_row(doc):
        return question_text(doc["question"], doc["options"])


def doc_to_visual(doc: Mapping) -> list:
    """The frames, as RGB images."""
    from ...modeling.processing import row_clip

    return row_clip(doc).frames


def doc_to_messages(doc: Mapping, lmms_eval_specific_kwargs: Mapping | None = None) -> list[dict]:
    """One user turn: the frames, then the prompt. A model that wants their times finds `timestamps` in the row."""
    content = [{"type": "image", "url": frame} for frame in doc_to_visual(doc)]
    return [{"role": "user", "content": [*content, {"type": "text", "text": doc_to_text(doc)}]}]


def process_results(doc: Mapping, results: Sequence[str]) -> dict[str, float]:
    """Score one response: under `accuracy`, and under the name of the row's own task."""
    correct = float(is_correct({**doc, "response": results[0]}))
    return {"accuracy": correct, doc["task"]: correct}
