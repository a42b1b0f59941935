"""Questions whose names and reasoning a language model words, many requests at a time."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...modeling.progress import Progress
from ..clip_error import ClipError
from ..clip_record import Window
from ..geometry.masks import decode_mask
from ..geometry.object_tracks import NAME
from ..review.honour import asked_objects
from ..writer.answer_store import AnswerStore
from ..writer.endpoint import Endpoint
from ..writer.prompts import frame_object
from ..writer.settings import WriterSettings
from ..writer.write_texts import TEMPLATE, Writer, WritingReport
from .question_stage import DueClip
from .stage_tasks import read_frames
from .worker_pool import Made, WorkerPool

ANSWERS = "answers.sqlite"
_UNNAMED = re.compile(rf"{NAME}|object \d+$")  # of flow, and of mask files and layouts without a usable name
_BATCH = 16  # clips at a time, as a multiple of the requests: their pictures wait in memory


@dataclass(frozen=True)
class PictureTask:
    """The pictures of a window's objects that are to be named.

    Attributes:
        path (`Path`): The video file.
        window ([`Window`]): Which part of it.
        views (`dict[int, tuple[int, dict]]`): For each object the frame, and its mask there.
    """

    path: Path
    window: Window
    views: dict[int, tuple[int, dict]]

    def run(self, report: Callable[..., None]) -> None:
        """Cut them out; nothing for a video that cannot be read any more."""
        report("questions")
        try:
            frames = read_frames(self.path, self.window).frames
        except ClipError:
            report(None, {})
            return
        report(None, {number: frame_object(frames[index], mask) for number, (index, mask) in self.views.items()})


def write_questions(
    due: Iterator[DueClip], count: int, settings: WriterSettings, folder: Path, pool: WorkerPool
) -> WritingReport:
    """Write the questions of clips in the words of a model where these pass the checks, else of the template.

    Args:
        due (`Iterator[DueClip]`): Clips whose questions are out of date.
        count (`int`): How many there are at most, for the progress bar.
        settings ([`WriterSettings`]): Which model.
        folder (`Path`): Where its answers are kept.
        pool ([`WorkerPool`]): Who reads videos.

    Raises:
        InputError: If the endpoint is not there, does not know the model, or does not take the key.
    """
    with (
        AnswerStore(folder / ANSWERS) as store,
        asyncio.Runner() as runner,
        Progress("clips worded", count) as progress,
    ):
        endpoint = Endpoint(settings, store)
        writer, done = Writer(settings, endpoint), 0
        while batch := list(islice(due, _BATCH * settings.concurrency)):
            pictures = _cut_out(batch, pool)
            runner.run(_write_batch(batch, pictures, writer))
            done += len(batch)
            progress.reach(done)
        runner.run(endpoint.close())
    return writer.report


async def _write_batch(batch: Sequence[DueClip], pictures: Mapping[int, Mapping[int, bytes]], writer: Writer) -> None:
    await asyncio.gather(*(_write_clip(due, pictures.get(number, {}), writer) for number, due in enumerate(batch)))


async def _write_clip(due: DueClip, pictures: Mapping[int, bytes], writer: Writer) -> None:
    answers = await asyncio.gather(*map(writer.name_object, pictures.values()))
    names = {number: name.text for number, name in zip(pictures, answers, strict=True) if name.text is not None}
    renamed, before = due.named(names), due.record.objects or ()
    questions = due.ask(renamed)
    rewordable = [question for question in questions if question["draft"] is not None]
    texts = await asyncio.gather(*(writer.word_reasoning(question["draft"]) for question in rewordable))
    written = {question["id"]: text.text for question, text in zip(rewordable, texts, strict=True)}
    given = {track.name for number in names if (track := (renamed.objects or ())[number]).name != before[number].name}
    for question in questions:
        text, facts = written.get(question["id"]), json.loads(question["facts"])
        author = {"reasoning": TEMPLATE if text is None else writer.report.model}
        if given & {facts.get(role, "").removeprefix("the ") for role in ("object", "other")}:
            author["name"] = writer.report.model
        question["response"] = text or question["response"]
        question["facts"] = json.dumps({**facts, "writer": author})
    due.keep(questions, finished=all(one.finished for one in (*answers, *texts)))


def _cut_out(batch: Sequence[DueClip], pool: WorkerPool) -> dict[int, dict[int, bytes]]:
    """The pictures of objects without a name, by clip and object; a video on which its worker dies has none."""
    waiting = (
        (number, PictureTask(due.video.path, due.record.window, views))
        for number, due in enumerate(batch)
        if (views := _views(due))
    )
    return {event.task: event.value for event in pool.run(lambda: next(waiting, None)) if isinstance(event, Made)}


def _views(due: DueClip) -> dict[int, tuple[int, dict[str, Any]]]:
    """For each object that is asked about and has no name yet, the frame that shows the most of it, and its mask."""
    views = {}
    for number in sorted(asked_objects(due.record, due.clip.candidates)):
        track = (due.record.objects or ())[number]
        if not _UNNAMED.match(track.name) or number in due.names:
            continue
        areas = {
            index: int(decode_mask(mask).sum())
            for index, mask in enumerate(track.masks)
            if mask is not None and track.sure[index]
        }
        if areas:
            index = max(areas, key=lambda frame: (areas[frame], -frame))
            views[number] = (index, dict(track.masks[index] or {}))
    return views
