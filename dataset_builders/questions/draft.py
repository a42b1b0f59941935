"""The reasoning of a question, with all that any wording of it, the template's or a model's, is checked against."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...modeling.errors import InputError
from ...modeling.tokens import IMAGERY_MARK, OPTION_LETTERS, AnswerForm
from .claims import blank_names, check_claims, check_order
from .evidence import Sight
from .motion_reasoning import format_checked_response

MAX_LENGTH = 2000  # characters
_MARKED_TIME = re.compile(rf"\b(\d+\.\d) s {re.escape(IMAGERY_MARK)}")
_TIME = re.compile(r"\b(\d+\.\d) s\b")
_MARKUP = re.compile(r"[<>{}|`*#\\\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Draft:
    """A question with its reasoning, and what that may say.

    Attributes:
        reasoning (`str`): The template's.
        question (`str`): What is asked.
        options (`Sequence[str]`): Option texts in the row's order.
        answer (`str`): Letter of the right one.
        span (`tuple[float, float]`): Seconds that the question is about.
        seconds (`Sequence[float]`): Times of the imagined frames.
        sights (`Sequence[Sight]`): What is seen in them; empty where plain frames stand in.
        directions (`Sequence[str]`): Phrases whose words of direction may be used.
        numbers (`Sequence[str]`): Phrases with other numbers of the facts.
        names (`Sequence[str]`): What objects are called; none for the camera alone.
    """

    reasoning: str
    question: str
    options: Sequence[str]
    answer: str
    span: tuple[float, float]
    seconds: Sequence[float]
    sights: Sequence[Sight]
    directions: Sequence[str]
    numbers: Sequence[str] = ()
    names: Sequence[str] = ()

    @property
    def right(self) -> str:
        """Text of the right option."""
        return self.options[OPTION_LETTERS.index(self.answer)]

    def respond_as_it_is(self, form: AnswerForm = "letter") -> str:
        """The whole response with the template's reasoning, whatever that holds.

        Args:
            form (`str`, *optional*, defaults to `"letter"`): Of the answer, as `format_response` takes it.

        Raises:
            InputError: If it claims what the facts do not, or does not conclude with the right option alone.
        """
        self._check_facts(self.reasoning)
        return format_checked_response(self.reasoning, self.answer, self.options, len(self.seconds), form)

    def respond(self, reasoning: str) -> str:
        """The whole response with a wording of the reasoning.

        Raises:
            InputError: If the wording claims what the facts do not, leaves out a time or a place, changes their order,
                marks imagined frames at other times, holds markup, or does not conclude with the right option alone.
        """
        self._check_form(reasoning)
        self._check_facts(reasoning)
        check_order(reasoning, self.reasoning, self.names)
        return format_checked_response(reasoning, self.answer, self.options, imagery=len(self.seconds))

    def _check_facts(self, reasoning: str) -> None:
        check_claims(reasoning, self.sights, [*self.span, *self.seconds], self.directions, self.numbers, self.names)

    def _check_form(self, reasoning: str) -> None:
        if len(reasoning) > MAX_LENGTH:
            raise InputError(f"the reasoning has {len(reasoning)} characters; {MAX_LENGTH} are allowed")
        if found := _MARKUP.search(blank_names(reasoning.replace(IMAGERY_MARK, ""), self.names)):
            raise InputError(
                f"the reasoning holds {found[0]!r}: it must be one paragraph of plain text: {reasoning!r}"
            )
        marked = _MARKED_TIME.findall(reasoning)
        if marked != [f"{second:.1f}" for second in self.seconds]:
            wanted = ", ".join(f"'{second:.1f} s {IMAGERY_MARK}'" for second in self.seconds)
            raise InputError(f"the reasoning must have, in this order and once each, {wanted}: {reasoning!r}")
        named = set(_TIME.findall(reasoning))
        for second in self.span:
            if f"{second:.1f}" not in named:
                raise InputError(f"the reasoning leaves out {second:.1f} s, an end of its span: {reasoning!r}")
        for sight in self.sights:
            centre, box = str(sight.centre), str(list(sight.box))
            if centre not in reasoning and box not in reasoning:
                raise InputError(f"the reasoning names neither the centre {centre} nor the box {box}: {reasoning!r}")
