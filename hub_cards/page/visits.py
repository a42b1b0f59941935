"""Questions of visitors: taken in, checked, answered, and their videos deleted."""

import filecmp
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from ...modeling.clip import Clip
from ...modeling.errors import InputError
from ...modeling.row_rules import prompt_fault
from ..serving.events import Event, Finish, ServingError
from ..serving.media import read_video_file
from ..serving.settings import GenerationSettings, Limits
from .answer_html import AnswerHtml, render_error, render_note
from .limits import PageLimits

# How an engine is asked: a clip, a question, its options, and how to decode.
Ask = Callable[[Clip, str, Sequence[str], GenerationSettings], Iterator[Event]]
_INTERVAL = 0.08  # seconds between two updates of a page
_VIDEO = "the video"  # what errors call it


@dataclass(eq=False)
class Visit:
    """One question on its way.

    Attributes:
        video (`Path`): A copy of the visitor's file for this question alone.
        question (`str`): What is asked.
        options (`list[str]`): Answers to choose from, or none.
        frames (`int`): Frames to show.
        session (`str`): Whose it is.
        left (`bool`): The visitor has gone.
    """

    video: Path
    question: str
    options: list[str]
    frames: int
    session: str
    left: bool = field(default=False)


class Visits:
    """Takes questions in and answers them; a bounded number at a time.

    Args:
        ask (`Callable`): Answers one, as [`Engine.ask`] does.
        limits ([`PageLimits`]): What is taken at most.
        uploads (`Path`): The folder of the uploads; no file elsewhere is read, nor deleted.
        examples (`Sequence[Path]`, *optional*): Videos that ship; everything else is deleted after its answer.
    """

    def __init__(self, ask: Ask, limits: PageLimits, uploads: Path, examples: Sequence[Path] = ()):
        self._ask, self.limits, self._examples = ask, limits, list(examples)
        self._uploads = uploads.resolve()
        self._open: list[Visit] = []
        self._lock = threading.Lock()

    def admit(
        self, video: Mapping[str, Any] | None, question: str, options: str, frames: int, session: str
    ) -> tuple[str, Visit | None]:
        """Check a question before it waits for its turn; a video is not decoded yet.

        Args:
            video (`Mapping`, *optional*): An upload as gradio describes it; its file is taken over.
            question (`str`): What is asked.
            options (`str`): Answers to choose from, one a line.
            frames (`int`): Frames to show.
            session (`str`): Whose it is.

        Returns:
            `tuple[str, Visit | None]`: What the page shows meanwhile, and the visit; with an error there is none.
        """
        if not (isinstance(question, str) and isinstance(options, str) and isinstance(frames, int | float)):
            return render_error("Question and options must be texts, and frames a number."), None
        listed = [line.strip() for line in options.splitlines() if line.strip()]
        try:
            path = self._check(video, question.strip(), listed, frames)
            visit = Visit(self._take(path), question.strip(), listed, int(frames), session)
        except InputError as error:
            return render_error(_to_sentence(str(error))), None
        with self._lock:
            waiting = len(self._open)
            if waiting < self.limits.visitors:
                self._open.append(visit)
                return render_note("Waiting for a turn …" if waiting else "Reading the video …", busy=True), visit
        _delete(visit)
        return render_error(f"The queue is full (questions of visitors: {waiting}): try again in a minute."), None

    def answer(self, visit: Visit | None) -> Iterator[tuple[str, str]]:
        """Answer a visit's question.

        Yields:
            `tuple[str, str]`: The answer so far as HTML, and what took how long.
        """
        if visit is None or visit not in self._open:
            return
        try:
            yield from self._stream(visit)
        except (InputError, ServingError) as error:
            yield render_error(_to_sentence(str(error))), ""
        finally:
            self._close(visit)

    def leave(self, session: str) -> None:
        """Let go of everything of a visitor who has gone."""
        for visit in [one for one in self._open if one.session == session]:
            visit.left = True
            self._close(visit)

    def _check(self, video: Mapping[str, Any] | None, question: str, options: list[str], frames: int) -> Path:
        if not isinstance(video, Mapping) or not isinstance(video.get("path"), str) or not video["path"]:
            raise InputError("give a video first: drop a file, record one or take an example")
        if fault := prompt_fault(question, options):
            raise InputError(fault.replace("question is empty: write a text", "write a question about the video"))
        if not 1 <= frames <= self.limits.frames:
            raise InputError(f"the number of frames must be between 1 and {self.limits.frames}")
        path = Path(video["path"].replace("\0", "")).resolve()
        if not path.is_relative_to(self._uploads):
            raise InputError("the video is no upload: drop a file, record one or take an example")
        if not path.is_file():
            raise InputError("the video was deleted after the last answer: give it again")
        return path

    def _take(self, path: Path) -> Path:
        """A copy of a file under a name of its own; what was uploaded is gone then."""
        is_example = any(filecmp.cmp(path, one, shallow=False) for one in self._examples)
        size = path.stat().st_size
        try:
            if size > self.limits.bytes:
                raise InputError(
                    f"the video has {size >> 20} MB, at most {self.limits.megabytes} MB are taken: cut or compress it"
                )
            folder = Path(tempfile.mkdtemp(prefix="fourdthinker-page-"))
            target = folder / f"video{path.suffix[:8]}"
            try:
                os.link(path, target)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, target)
        finally:
            # Another visitor may have uploaded the same bytes under the same name, and deleted them.
            if not is_example:
                path.unlink(missing_ok=True)
        return target

    def _stream(self, visit: Visit) -> Iterator[tuple[str, str]]:
        started = perf_counter()
        yield render_note("Reading the video …", busy=True), ""
        limits = Limits(video_seconds=self.limits.seconds, frames=self.limits.frames)
        try:
            clip = read_video_file(visit.video, visit.frames, None, limits, _VIDEO)
        finally:
            _delete(visit)  # a visitor who reads an answer, or an error, may rely on it that the file is gone
        decoded = perf_counter() - started
        yield render_note(f"Looking at {len(clip.frames)} frames …", busy=True), ""
        settings = GenerationSettings(max_tokens=self.limits.tokens, imagery=True)
        answer, shown = AnswerHtml(), 0.0
        for event in self._ask(clip, visit.question, visit.options, settings):
            if visit.left:
                return
            answer.add(event)
            if isinstance(event, Finish):
                yield answer.render(), _describe_times(decoded, event)
            elif monotonic() - shown >= _INTERVAL:
                shown = monotonic()
                yield answer.render(), ""

    def _close(self, visit: Visit) -> None:
        with self._lock:
            if visit in self._open:
                self._open.remove(visit)
        _delete(visit)


def _delete(visit: Visit) -> None:
    shutil.rmtree(visit.video.parent, ignore_errors=True)


def _to_sentence(text: str) -> str:
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def _describe_times(decoded: float, finish: Finish) -> str:
    """Where the time went, in one line."""
    seconds = finish.seconds
    parts = [f"video {decoded:.2f} s"]
    parts += [f"waiting {seconds['queue']:.2f} s"] if seconds["queue"] >= 0.05 else []
    parts += [f"prompt of {finish.prompt_tokens} tokens {seconds['prefill']:.2f} s"]
    rate = finish.completion_tokens / max(seconds["decode"], 1e-6)
    parts += [f"answer of {finish.completion_tokens} tokens {seconds['decode']:.2f} s ({rate:.0f} a second)"]
    return " · ".join(parts)
