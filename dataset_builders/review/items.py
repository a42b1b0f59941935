"""The overlays and rows of a finished build, in the order in which a person judges them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ...modeling.errors import InputError
from ..clip_record import ClipRecord, ObjectTrack
from ..pipeline.record_json import clip_folder
from ..pipeline.stage_files import StageFiles, is_build_folder
from ..preview.build_output import clip_of_row, dataset_files, load_clip
from ..questions.spatial_facts import objects_of
from .subjects import camera_subject, find_fact, track_subject


@dataclass(frozen=True)
class Item:
    """A row, or the overlay that rows of one clip rest on.

    Attributes:
        subject (`str`): Digest of what is judged.
        id (`str`): The row's id, or the clip with the name of the overlay.
        row (`str`): Id of the row that it is shown with.
        track (`str`): Digest of the object or region; empty for the plain frame.
        name (`str`): What the moving object is called; empty where there is none to correct.
        is_row (`bool`): Whether it is a row.
    """

    subject: str
    id: str
    row: str
    track: str = ""
    name: str = ""
    is_row: bool = True


@dataclass
class Reviewed:
    """A finished build for review.

    Attributes:
        output (`Path`): Its folder.
        places (`dict[str, tuple[Path, int, int]]`): For each row its file, row group and place in it.
        items (`list[Item]`): Clip by clip: each overlay before the rows that show it.
    """

    output: Path
    places: dict[str, tuple[Path, int, int]]
    items: list[Item] = field(default_factory=list)
    _group: tuple[tuple[Path, int], Any] | None = None  # the last row group: neighbouring rows are mostly in one

    @property
    def by_subject(self) -> dict[str, Item]:
        """The items by what is judged."""
        return {item.subject: item for item in self.items}

    def read_row(self, identity: str) -> dict[str, Any]:
        """A row with its pictures."""
        from pyarrow import parquet

        path, group, place = self.places[identity]
        if self._group is None or self._group[0] != (path, group):
            self._group = (path, group), parquet.ParquetFile(path).read_row_group(group)
        return self._group[1].slice(place, 1).to_pylist()[0]


def open_build(output: Path) -> Reviewed:
    """List what can be judged of a build from videos.

    Raises:
        InputError: If there is no such build, or it has no rows yet.
    """
    if not is_build_folder(output):
        raise InputError(f"{output} holds no build from videos: name the --output folder of such a `build-data`")
    build = Reviewed(output, _find_rows(dataset_files(output)))
    known: set[str] = set()
    for clip, identities in groupby(build.places, clip_of_row):
        for item in _items_of_clip(output, clip, list(identities)):
            if item.subject not in known:
                known.add(item.subject)
                build.items.append(item)
    return build


def _items_of_clip(output: Path, clip: str, identities: Sequence[str]) -> Iterator[Item]:
    record, questions = load_clip(output, clip), _read_questions(output, clip)
    if record is None or not questions.keys() >= set(identities):  # the stages were removed, or rebuilt since
        raise InputError(f"the stages of {clip} in {output} are not those of its rows: run the same build-data again")
    for identity in identities:
        _, kind, number = identity.rsplit("-", 2)
        if kind == "camera":
            region = _shown_region(record, questions[identity])
            if region is not None:
                subject = track_subject(record, region)
                yield Item(subject, f"{clip} {region.name}", identity, subject, is_row=False)
            yield Item(camera_subject(record, record.facts["camera"][int(number)]), identity, identity)
            continue
        fact, subject = find_fact(record, kind, int(number))
        said, overlays = json.loads(questions[identity]["facts"]), []
        for role in ("object", "other"):
            if fact.get(role) not in objects_of(fact):
                continue  # the camera, or nothing
            name = said[role].removeprefix("the ")  # facts about space hold the article
            overlays.append((track_subject(record, (record.objects or [])[fact[role]]), name))
            yield Item(overlays[-1][0], f"{clip} {name}", identity, *overlays[-1], is_row=False)
        yield Item(subject, identity, identity, *(overlays[0] if overlays else ()))


def _read_questions(output: Path, clip: str) -> dict[str, dict[str, Any]]:
    """The questions about a clip by their ids."""
    video, _, number = clip.rpartition("-")
    stored = StageFiles(output).read(clip_folder(video, int(number)), "questions")
    return {question["id"]: question for question in (stored and stored.value or {}).get("questions", [])}


def _shown_region(record: ClipRecord, question: dict[str, Any]) -> ObjectTrack | None:
    """The region that a camera question shows; nothing for plain frames."""
    first = question["imagined"][0]
    shown = (track for track in record.resting or () if first["mask"] and track.masks[first["frame"]] == first["mask"])
    return next(shown, None)


def _find_rows(files: Sequence[Path]) -> dict[str, tuple[Path, int, int]]:
    """Where each row is: its file, row group and place in it, sorted so that the rows of a clip stand together."""
    from pyarrow import parquet

    found = {}
    for path in files:
        opened = parquet.ParquetFile(path)
        for group in range(opened.num_row_groups):
            ids = opened.read_row_group(group, columns=["id"]).column("id").to_pylist()
            found.update({identity: (path, group, place) for place, identity in enumerate(ids)})
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def _order(identity: str) -> tuple[str, str, int]:
    clip, kind, number = identity.rsplit("-", 2)
    return clip, kind, int(number)
