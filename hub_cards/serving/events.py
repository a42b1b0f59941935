"""What happens while a request is answered: the events of a stream, and the errors that end it."""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from .heat_maps import LatentMap

Field = Literal["reasoning_content", "content"]


@dataclass(frozen=True)
class TextDelta:
    """Text that was written since the last event.

    Attributes:
        field (`str`): `"reasoning_content"` or `"content"`, as clients of OpenAI's API know them.
        text (`str`): Never empty. As the model wrote it: a page must escape it.
    """

    field: Field
    text: str


@dataclass(frozen=True)
class ImageryBlock:
    """A latent block, between the text before it and the text after it.

    Attributes:
        number (`int`): From 1.
        field (`str`): In which text it stands.
        start (`int`): Where its note starts in that text, in characters; notes of earlier blocks count.
        latents (`int`): How many it has; fewer than usual if the answer was cut off in it.
        note (`str`): What stands for it in plain text, such as `[imagery 1: 4 latents]`.
        maps (`list[LatentMap]`): Where each latent points; empty unless asked for, and without images or videos.
    """

    number: int
    field: Field
    start: int
    latents: int
    note: str
    maps: "list[LatentMap]" = dataclasses.field(default_factory=list)


@dataclass(frozen=True)
class Finish:
    """The end of an answer.

    Attributes:
        reason (`str`): `"stop"`: the model or a stop text ended it; `"length"`: its length did.
        prompt_tokens, completion_tokens (`int`): Latents and the end of the turn count.
        seconds (`dict[str, float]`): `queue` (waiting), `prefill` (reading the prompt), `decode` (writing), and
            `first_token` since the request came.
    """

    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int
    seconds: dict[str, float]


Event = TextDelta | ImageryBlock | Finish


class ServingError(Exception):
    """A request that cannot be answered, in the terms of OpenAI's error objects.

    Attributes:
        message (`str`): One line for the client; never a path of this machine.
        status (`int`): The HTTP status.
        kind (`str`): OpenAI's `type`.
        param (`str`, *optional*): The field that is at fault.
        code (`str`, *optional*): OpenAI's `code`.
    """

    status, kind, code = 400, "invalid_request_error", None

    def __init__(self, message: str, param: str | None = None, code: str | None = None):
        super().__init__(message)
        self.message, self.param = message, param
        self.code = code or type(self).code

    def to_dict(self) -> dict:
        """The error object, as it stands in an answer or a stream."""
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}


class InvalidRequest(ServingError):
    """The request itself is at fault (400)."""


class NotAuthenticated(ServingError):
    """No key, or another one (401)."""

    status, code = 401, "invalid_api_key"


class NotFound(ServingError):
    """Another model or path than is served (404)."""

    status = 404


class TooLarge(ServingError):
    """The body is too large (413)."""

    status, code = 413, "request_too_large"


class UnsupportedType(ServingError):
    """The body is no JSON by its header (415)."""

    status = 415


class TooSlow(ServingError):
    """The body did not come in time (408)."""

    status, code = 408, "request_timeout"


class ClientGone(ServingError):
    """Nobody waits for the answer any more (499, which only the counters see)."""

    status = 499


class Busy(ServingError):
    """The queue is full (429)."""

    status, kind, code = 429, "rate_limit_error", "queue_full"


class Stopping(ServingError):
    """The server is stopping (503)."""

    status, kind, code = 503, "server_error", "server_stopping"


class ModelFailure(ServingError):
    """The model failed: no client's mistake (500)."""

    status, kind, code = 500, "server_error", "model_failure"
