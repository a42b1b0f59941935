"""What can be judged, as digests that stay the same in later builds as long as the thing itself does."""

from typing import Any

from ..clip_record import ClipRecord, ObjectTrack
from ..pipeline.settings import digest
from ..questions.spatial_facts import objects_of

_LENGTH = 24  # letters of a digest


def track_subject(record: ClipRecord, track: ObjectTrack) -> str:
    """The overlay of an object or of a resting region; its name may change."""
    return _subject(record, ["overlay", list(track.masks)])


def camera_subject(record: ClipRecord, fact: dict[str, Any]) -> str:
    """What is asked about the camera, whatever it is shown by."""
    return _subject(record, ["camera", fact["span"], fact["parts"]])


def object_subject(record: ClipRecord, fact: dict[str, Any]) -> str:
    """What is asked about an object; its name may change."""
    track = (record.objects or [])[fact["object"]]
    return _subject(record, ["object", fact["kind"], list(fact["span"]), fact["label"], list(track.masks)])


def space_subject(record: ClipRecord, fact: dict[str, Any]) -> str:
    """What is asked about an object's place in space or after a cut; its name may change."""
    masks = [list((record.objects or [])[number].masks) for number in objects_of(fact)]
    return _subject(record, [fact["family"], fact["task"], fact["answer"], masks])


def find_fact(record: ClipRecord, kind: str, number: int) -> tuple[dict[str, Any], str]:
    """The fact that a question is about, and the subject of what is asked.

    Args:
        record ([`ClipRecord`]): Of the clip.
        kind (`str`): Of the question, as `Candidate` has it or its part before the first hyphen; not the camera's.
        number (`int`): Of the fact among those of its family.
    """
    if kind.startswith("object"):
        fact = record.facts["objects"][number]
        return fact, object_subject(record, fact)
    fact = record.facts["future" if kind.startswith("future") else "space"][number]
    return fact, space_subject(record, fact)


def _subject(record: ClipRecord, thing: list) -> str:
    return digest([record.clip, list(record.window.timestamps), *thing])[:_LENGTH]
