"""What is known of a clip beside its labels, in words."""

from typing import Any

from ..clip_record import POSE_KIND_WORDS, ClipRecord


def describe_record(record: ClipRecord) -> list[tuple[str, str]]:
    """Names and values: where a clip comes from, and how its poses and masks came about."""
    window, camera = record.window, record.camera
    described = [("video", record.source), ("span of the clip", f"{window.start:g} s to {window.end:g} s")]
    described += [("licence", record.licence or ""), ("camera", POSE_KIND_WORDS[camera.kind] if camera else "unknown")]
    if camera:
        described += [("poses made by", _join(camera.made_by)), ("error of the poses", _join(camera.errors))]
    for number, track in enumerate(record.objects or (), start=1):
        seen = sum(mask is not None for mask in track.masks)
        value = f"{track.name}, seen in {seen} of {len(track.masks)} frames, {_join(track.made_by)}"
        described.append((f"object {number}", value))
    return [(name, value) for name, value in described if value]


def _join(values: dict[str, Any]) -> str:
    pairs = ((name, f"{value:.3g}" if isinstance(value, float) else value) for name, value in values.items())
    return ", ".join(f"{name} {value}" for name, value in pairs)
