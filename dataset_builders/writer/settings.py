"""What a user sets of the language model that words rows. The key is read from the environment and never kept."""

from dataclasses import dataclass

CONCURRENCY = 4
TIMEOUT = 60.0  # seconds a request


@dataclass(frozen=True)
class WriterSettings:
    """A language model behind an OpenAI-compatible endpoint.

    Attributes:
        model (`str`): Name of the model, as the endpoint knows it.
        url (`str`, *optional*): Where the endpoint is, such as `http://127.0.0.1:8000/v1`; by default what the
            `openai` client takes (`OPENAI_BASE_URL`, or the vendor).
        concurrency (`int`, *optional*, defaults to 4): Requests at a time.
        timeout (`float`, *optional*, defaults to 60): Seconds that one request may take.
    """

    model: str
    url: str | None = None
    concurrency: int = CONCURRENCY
    timeout: float = TIMEOUT
