"""Answers of language models, kept in one SQLite file, so that nothing is asked, or paid, twice."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from ...modeling.errors import InputError

_TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    model TEXT NOT NULL, prompt TEXT NOT NULL, content TEXT NOT NULL,
    text TEXT NOT NULL, finish TEXT NOT NULL, read_tokens INTEGER NOT NULL, written_tokens INTEGER NOT NULL,
    PRIMARY KEY (model, prompt, content)
)
"""


class Answer(NamedTuple):
    """What a model answered.

    Attributes:
        text (`str`): The message.
        finish (`str`): Why it ended: `stop`, `length`, `content_filter`, `refusal`.
        read_tokens, written_tokens (`int`): What was counted for it; 0 where the endpoint does not say.
    """

    text: str
    finish: str
    read_tokens: int = 0
    written_tokens: int = 0


class AnswerStore:
    """Answers by model, prompt and content. Use it as a context manager.

    An answer is on the disk when [`put`] returns.

    Args:
        path (`Path`): The file; it is made if there is none.

    Raises:
        InputError: If the file is damaged, of another kind, or cannot be written.
    """

    def __init__(self, path: Path):
        self._path = path
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        with self._report_errors():
            self._connection = sqlite3.connect(self._path)
            self._connection.execute(_TABLE)
            self._connection.commit()
        return self

    def __exit__(self, *exc_info) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, model: str, prompt: str, content: str) -> Answer | None:
        """The kept answer, or `None`.

        Args:
            model (`str`): Name of the model.
            prompt (`str`): The instructions.
            content (`str`): What they are about.
        """
        assert self._connection is not None
        with self._report_errors():
            row = self._connection.execute(
                "SELECT text, finish, read_tokens, written_tokens FROM answers "
                "WHERE model = ? AND prompt = ? AND content = ?",
                (model, _hash(prompt), _hash(content)),
            ).fetchone()
        return None if row is None else Answer(*row)

    def put(self, model: str, prompt: str, content: str, answer: Answer) -> Answer:
        """Keep an answer, and return the one that is kept: an earlier one stays, so that all rows use the same."""
        assert self._connection is not None
        with self._report_errors(), self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (model, _hash(prompt), _hash(content), *answer),
            )
        return self.get(model, prompt, content) or answer

    @contextmanager
    def _report_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:  # a full disk, a folder without permission, a lock
            raise InputError(
                f"cannot use {self._path} ({error}): make room there or change its permissions"
            ) from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{self._path} is damaged ({error}): delete it, and its answers are asked for again"
            ) from error


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
