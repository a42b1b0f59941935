"""Parse options, answers and responses written by people: in the question, in words. Pure Python."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...modeling.errors import InputError
from ...modeling.listed_options import drop_letters
from ...modeling.offered_options import OfferedOptions
from ...modeling.row_rules import ANSWER_TAG, lacks_answer, options_fault
from ...modeling.tokens import format_answer


def text_of(value: Any, name: str, where: str) -> str | None:
    """A cell as text; nothing stays nothing.

    Args:
        value: A text, number or bool.
        name (`str`): What to call it.
        where (`str`): File and place, for the error.

    Raises:
        InputError: If it is an object or a list, of which the wrong part could be taken.
    """
    if isinstance(value, (Mapping, list, tuple, bytes)):
        raise InputError(f"{where}: {name} is {value!r:.80}, no text: write the text itself")
    return None if value is None else str(value)


def strip_letters(options: Sequence[Any], where: str) -> list[str | None]:
    """Remove the letters of options if each has that of its place: `A. left`, `B. right`.

    Raises:
        InputError: If an option is an object or a list.
    """
    texts = [text_of(option, f"options {number}", where) for number, option in enumerate(options, start=1)]
    return drop_letters(texts)


def find_letter(answer: Any, options: Sequence[str], where: str) -> str | None:
    """The letter of the option that an answer names by its letter, its text in any case, or both.

    Args:
        answer: A text or number; of one with `<answer>` or `</think>` the answer alone counts.
        options (`Sequence[str]`): The option texts; none where they stand in the question, as A to D.
        where (`str`): File and place, for the error.

    Raises:
        InputError: If it is the letter of one option and the text of another.
    """
    if answer is None or options_fault(options):
        return None
    text = str(answer)
    tagged = ANSWER_TAG.findall(text)
    text = tagged[-1] if tagged else text.rpartition("</think>")[2]
    offer = OfferedOptions(options)
    letter, by_text = offer.choice(text), offer.by_text(text)
    if letter and by_text and letter != by_text:
        raise InputError(
            f"{where}: answer {text!r} is the letter of one option and the text of another: write both, as in "
            f"{format_answer(by_text, options)!r}"
        )
    return letter


def add_answer_tags(response: str, answer: str | None, letter: str | None, options: Sequence[str]) -> str:
    """A response that ends in `<answer>`: as it is if it has one, else with the tags put in.

    One that ends in an imagery mark, with no answer beside it, stays as it is: it teaches imagery alone.

    Args:
        response (`str`): What is said. It is the answer, unless the answer is given beside it or stands behind
            `</think>`.
        answer (`str`, *optional*): The answer that is given beside it: what is said then is the reasoning.
        letter (`str`, *optional*): The letter of the right option.
        options (`Sequence[str]`): The option texts.
    """
    if "<answer>" in response or (answer is None and lacks_answer(response)):
        return response
    reasoning, closing, rest = response.rpartition("</think>")
    full = format_answer(letter, options) if letter and options else answer
    if closing:
        return f"{reasoning}</think><answer>{rest.strip() or full or ''}</answer>"
    stated = response.strip()
    is_answer = not options_fault(options) and OfferedOptions(options).choice(stated) is not None
    if full is None or answer is None or is_answer or stated == answer.strip():
        return f"<answer>{stated}</answer>"
    return f"<think>{stated}</think><answer>{full}</answer>"
