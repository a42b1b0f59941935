"""Names and reasoning by a model: every answer passes the checks of the template's own, or the template stays."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from ...modeling.errors import InputError, first_line
from ..questions.claims import find_telling_words
from ..questions.draft import Draft
from ..questions.object_questions import check_name
from .endpoint import Endpoint, EndpointError, Usage
from .prompts import (
    MAX_NAME_WORDS,
    NAME_INSTRUCTIONS,
    REASONING_INSTRUCTIONS,
    ObjectName,
    Reasoning,
    name_messages,
    reasoning_messages,
    refusal_messages,
)
from .settings import WriterSettings

ATTEMPTS = 3
TEMPLATE = "template"
_MAX_NAME = 40  # characters; two objects of the same name get `on the left` and `on the right` after it
_CUT = ("length", "content_filter", "refusal")
_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")


@dataclass
class WritingReport:
    """What came of the texts that a build wanted of a model.

    Attributes:
        model (`str`): Its name.
        usage ([`Usage`]): What was asked.
        written (`int`): Texts by it.
        refused (`int`): Texts of the template, after [`ATTEMPTS`] refused answers.
        last_refusal (`str`): Why the last of those answers was refused.
        failed (`int`): Texts of the template because the endpoint failed: the next build asks for them.
    """

    model: str
    usage: Usage
    written: int = 0
    refused: int = 0
    last_refusal: str = ""
    failed: int = 0


@dataclass(frozen=True)
class Written:
    """A text of a model, or the template's.

    Attributes:
        text (`str`, *optional*): The model's; `None` where the template stays.
        finished (`bool`): Whether asking again would be in vain.
    """

    text: str | None
    finished: bool = True


class Writer:
    """Asks for texts and checks them.

    Args:
        settings ([`WriterSettings`]): Which model.
        endpoint ([`Endpoint`]): Where it is asked.
    """

    def __init__(self, settings: WriterSettings, endpoint: Endpoint):
        self._endpoint = endpoint
        self.report = WritingReport(settings.model, endpoint.usage)

    async def name_object(self, picture: bytes) -> Written:
        """A name for what is framed in a picture.

        Args:
            picture (`bytes`): JPEG file of [`frame_object`].
        """
        return await self._write(
            NAME_INSTRUCTIONS, name_messages(picture), ObjectName, lambda answer: check_written_name(answer.name)
        )

    async def word_reasoning(self, draft: Draft) -> Written:
        """A response with another wording of a question's reasoning."""
        return await self._write(
            REASONING_INSTRUCTIONS,
            reasoning_messages(draft),
            Reasoning,
            lambda answer: draft.respond(answer.reasoning.strip()),
        )

    async def _write(
        self,
        instructions: str,
        messages: list[dict[str, Any]],
        schema: type[BaseModel],
        check: Callable[[Any], str],
    ) -> Written:
        for _ in range(ATTEMPTS):
            try:
                answer = await self._endpoint.ask(instructions, messages, schema.model_json_schema())
            except EndpointError:
                self.report.failed += 1
                return Written(None, finished=False)
            try:
                if answer.finish in _CUT:
                    raise InputError(f"the answer ended early ({answer.finish})")
                text = check(schema.model_validate_json(answer.text))
            except InputError as error:
                reason = first_line(error)
            except ValidationError as error:
                reason = f"it is not the JSON object that was asked for ({error.errors()[0]['msg']})"
            else:
                self.report.written += 1
                return Written(text)
            messages = [*messages, *refusal_messages(answer.text, reason)]
        self.report.refused += 1
        self.report.last_refusal = reason
        return Written(None)


def check_written_name(name: str) -> str:
    """A name that a model gives an object, fit for a question.

    Raises:
        InputError: If it is none that a user could give, has more than a few plain words, or tells of a motion, which
            could give an answer away.
    """
    plain = check_name(name).lower()
    words = plain.split()
    if len(words) > MAX_NAME_WORDS or len(plain) > _MAX_NAME or not all(_WORD.fullmatch(word) for word in words):
        raise InputError(f"the name {name!r} is not one to {MAX_NAME_WORDS} words of letters")
    if told := find_telling_words(plain):
        raise InputError(f"the name {name!r} says {told[0]!r}, which is no part of a name")
    return plain
