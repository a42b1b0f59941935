"""The prompt that training, RL, evaluation and serving share. Pure Python."""

from collections.abc import Sequence

from .errors import InputError
from .row_rules import prompt_fault
from .tokens import format_options

# Interface constant of the published checkpoints: they were trained on this wording.
PROMPT_SUFFIX = (
    "\nFirst, think about the reasoning process with mental imagery of the relevant object or region, then provide "
    "the user with the answer. Put the reasoning in <think>...</think> and only the final answer in "
    "<answer>...</answer>, e.g. <think> reasoning process (with mental imagery as needed) </think>"
    "<answer> answer here </answer>."
)


def question_text(question: str, options: Sequence[str] = ()) -> str:
    """The text of the user turn: the question, its options one a line, and the instruction how to answer.

    Args:
        question (`str`): The question, without options in it.
        options (`Sequence[str]`, *optional*): Two to ten option texts without letters; none for an open question.

    Raises:
        InputError: If a text is missing or empty, or has a special token in its words; if there are too many options.
    """
    if fault := prompt_fault(question, options):
        raise InputError(fault)
    listed = f"\n\n{format_options(options)}" if options else ""
    return f"{question}{listed}{PROMPT_SUFFIX}"


def video_message(question: str, options: Sequence[str] = ()) -> list[dict]:
    """The conversation before the model speaks: one user turn with a video placeholder and the question."""
    content = [{"type": "video"}, {"type": "text", "text": question_text(question, options)}]
    return [{"role": "user", "content": content}]
