"""Ask a model behind an OpenAI-compatible endpoint, with the client's own retries, keeping every answer."""

import asyncio
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...modeling.errors import InputError, first_line
from .answer_store import Answer, AnswerStore
from .settings import WriterSettings

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

KEY_VARIABLE = "OPENAI_API_KEY"
RETRIES = 3  # of one request, by the client: 429, 5xx, timeouts, lost connections
_PATIENCE = 10  # times the timeout: for one request with its retries and the waits that a server asks for
_MAX_TOKENS = 4096
_MAX_TEXT = 20_000  # characters of an answer that are looked at
_MAX_LINE = 200  # characters of a server's message
_FAILURES = 3  # in a row, after which nothing more is asked
_NO_SCHEMA = (400, 422)  # what endpoints answer that cannot follow a JSON schema
_MISCONFIGURED = {
    401: f"check {KEY_VARIABLE}",
    403: f"check {KEY_VARIABLE}",
    404: "check --writer-url and --writer-model",
}


class EndpointError(RuntimeError):
    """A request failed in a way that another try may mend."""


@dataclass
class Usage:
    """What a build asked an endpoint, and what it cost.

    Attributes:
        requests (`int`): Answered requests.
        kept (`int`): Answers taken from the file.
        failures (`int`): Requests that failed after all retries, or were given up.
        read_tokens, written_tokens (`int`): Of the answered requests.
        cost (`float`, *optional*): Dollars, where the endpoint says so.
        last_failure (`str`): How the last one failed.
    """

    requests: int = 0
    kept: int = 0
    failures: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    cost: float | None = None
    last_failure: str = ""


class Endpoint:
    """A model behind an endpoint.

    The key is taken from the environment variable `OPENAI_API_KEY` and goes to the endpoint alone: answers and
    messages in which a server repeats it are cleaned.

    Args:
        settings ([`WriterSettings`]): Where it is.
        store ([`AnswerStore`]): Where answers are kept.

    Raises:
        InputError: If the vendor's own endpoint is meant and no key is set.
    """

    def __init__(self, settings: WriterSettings, store: AnswerStore):
        from openai import AsyncOpenAI

        self.usage = Usage()
        self._settings, self._store = settings, store
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        if not self._key and not (settings.url or os.environ.get("OPENAI_BASE_URL")):
            raise InputError(
                f"--writer openai needs a key in {KEY_VARIABLE}, or --writer-url of an endpoint without one"
            )
        self._client = AsyncOpenAI(
            api_key=self._key or "none", base_url=settings.url, timeout=settings.timeout, max_retries=RETRIES
        )
        self._free = asyncio.Semaphore(settings.concurrency)
        self._takes_schema = True
        self._failed_in_a_row = 0

    async def close(self) -> None:
        """Close its connections."""
        await self._client.close()

    async def ask(self, instructions: str, messages: list[dict[str, Any]], schema: dict[str, Any]) -> Answer:
        """The answer to a conversation, from the file if it is there.

        Args:
            instructions (`str`): The system message.
            messages (`list[dict]`): What follows it.
            schema (`dict`): JSON schema of the answer.

        Raises:
            EndpointError: If the request failed after the client's retries, or too many before it did.
            InputError: If the endpoint is not there, does not know the model, or does not take the key.
        """
        prompt, content = json.dumps([instructions, schema]), json.dumps(messages)
        model = self._settings.model
        kept = self._store.get(model, prompt, content)
        if kept is not None:
            self.usage.kept += 1
            return kept
        async with self._free:
            answer = await self._request([{"role": "system", "content": instructions}, *messages], schema)
        return self._store.put(model, prompt, content, answer)

    async def _request(self, messages: list[dict[str, Any]], schema: dict[str, Any]) -> Answer:
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        if self._failed_in_a_row >= _FAILURES:
            raise self._failure(f"not asked after {_FAILURES} failures in a row; the last: {self.usage.last_failure}")
        try:
            async with asyncio.timeout(_PATIENCE * self._settings.timeout):
                completion = await self._complete(messages, schema)
            answer = self._read(completion)
        except (APITimeoutError, TimeoutError) as error:
            raise self._failure(f"no answer in {self._settings.timeout:g} s") from error
        except APIStatusError as error:
            line = f"{error.status_code} ({self._line(error)})"
            if error.status_code in _MISCONFIGURED:
                raise InputError(f"{self._name} answers {line}: {_MISCONFIGURED[error.status_code]}") from None
            raise self._failure(line) from None
        except APIConnectionError as error:
            line = self._line(error.__cause__ or error)
            if not self.usage.requests:
                raise InputError(f"{self._name} cannot be reached ({line}): check --writer-url") from None
            raise self._failure(line) from None
        except (OpenAIError, ValueError, AttributeError, LookupError, TypeError) as error:
            raise self._failure(f"no chat completion ({type(error).__name__})") from None
        self._failed_in_a_row = 0
        return answer

    async def _complete(self, messages: list[dict[str, Any]], schema: dict[str, Any]) -> "ChatCompletion":
        from openai import APIStatusError

        request: Any = {"model": self._settings.model, "messages": messages, "max_completion_tokens": _MAX_TOKENS}
        if self._takes_schema:
            shape = {"name": schema["title"], "schema": schema, "strict": True}
            try:
                return await self._client.chat.completions.create(
                    **request, response_format={"type": "json_schema", "json_schema": shape}
                )
            except APIStatusError as error:
                if error.status_code not in _NO_SCHEMA:
                    raise
            # The instructions describe the answer as well. Where that is refused too, the schema was not the reason.
            completion = await self._client.chat.completions.create(**request)
            self._takes_schema = False
            return completion
        return await self._client.chat.completions.create(**request)

    def _read(self, completion: "ChatCompletion") -> Answer:
        choice, used = completion.choices[0], completion.usage
        text = choice.message.content or choice.message.refusal or ""
        finish = "refusal" if choice.message.refusal else str(choice.finish_reason)
        read, written = (used.prompt_tokens or 0, used.completion_tokens or 0) if used else (0, 0)
        cost = getattr(used, "cost", None)
        self.usage.requests += 1
        self.usage.read_tokens += read
        self.usage.written_tokens += written
        if isinstance(cost, int | float):
            self.usage.cost = (self.usage.cost or 0.0) + cost
        return Answer(self._clean(text[:_MAX_TEXT]), finish, read, written)

    def _failure(self, line: str) -> EndpointError:
        self._failed_in_a_row += 1
        self.usage.failures += 1
        if self._failed_in_a_row <= _FAILURES:
            self.usage.last_failure = line
        return EndpointError(line)

    def _line(self, error: BaseException) -> str:
        return self._clean(first_line(error))[:_MAX_LINE]

    def _clean(self, text: str) -> str:
        """A text without the key."""
        return text.replace(self._key, "***") if self._key else text

    @property
    def _name(self) -> str:
        return f"the endpoint {self._client.base_url}"
