"""A clip of a build as a recording of rerun: frames, camera, masks, boxes, curves, labels and questions."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ...modeling.atomic import atomic_path
from ..clip_record import CameraPoses, ClipRecord, ObjectTrack
from ..geometry.masks import decode_mask
from ..preview.build_output import right_option
from ..preview.curves import Curve, camera_curves, camera_path, list_labels, object_curves
from ..preview.descriptions import describe_record
from ..preview.record_drawings import MOVER, RESTING
from .build_clips import BuiltClip

if TYPE_CHECKING:
    import rerun

    from ...modeling.clip import Clip

APPLICATION = "fourdthinker"
TIMELINE = "seconds"
WORLD, CAMERA, IMAGE = "world", "world/camera", "world/camera/image"
ABOUT, LABELS = "clip", "labels"
_QUALITY = 90
_FIRST_RESTING = 100  # class id of the first region at rest; objects begin at 1
_FRUSTUM_SHARE = 0.15  # of the unit of the path, or of its length if that is more
_CLEAR = (0, 0, 0, 0)


def write_recording(path: Path, built: BuiltClip) -> None:
    """Write the `.rrd` file of one clip.

    Args:
        path (`Path`): The file.
        built ([`BuiltClip`]): The clip.

    Raises:
        ModuleNotFoundError: If rerun is not installed.
    """
    import rerun

    record = built.record
    with (
        atomic_path(path) as temporary,
        rerun.RecordingStream(APPLICATION, recording_id=record.clip, send_properties=False) as stream,
    ):
        stream.save(temporary, _arrange_views(record, built.questions))
        stream.send_recording_name(record.clip)
        _log_frames(stream, record, built.frames)
        if record.camera is not None:
            _log_camera(stream, record.camera, record.window.timestamps, record.size)
        _log_tracks(stream, record)
        _log_curves(stream, record)
        _log_texts(stream, built)


def _log_frames(stream: "rerun.RecordingStream", record: ClipRecord, clip: "Clip") -> None:
    import rerun

    for picture, second in zip(clip.frames, record.window.timestamps, strict=True):
        file = io.BytesIO()
        picture.resize(record.size, Image.Resampling.LANCZOS).save(file, format="JPEG", quality=_QUALITY)
        stream.set_time(TIMELINE, duration=second)
        stream.log(IMAGE, rerun.EncodedImage(contents=file.getvalue(), media_type="image/jpeg"))


def _log_camera(
    stream: "rerun.RecordingStream", camera: CameraPoses, timestamps: Sequence[float], size: tuple[int, int]
) -> None:
    """The camera's frustum over time and its whole path, in the axes and the unit of [`camera_path`]."""
    import rerun

    path = camera_path(camera)
    stream.log(WORLD, rerun.ViewCoordinates.RDF, static=True)
    frustum = rerun.Pinhole(
        image_from_camera=camera.intrinsics,
        resolution=size,
        camera_xyz=rerun.ViewCoordinates.RDF,
        image_plane_distance=_frustum_depth(path),
    )
    stream.log(IMAGE, frustum, static=True)
    stream.log(f"{WORLD}/path", rerun.LineStrips3D([path], colors=[MOVER]), static=True)
    known = np.flatnonzero(camera.registered)
    rotations = camera.camera_to_world[known, :3, :3]
    for frame, place, rotation in zip(known, path, rotations, strict=True):
        stream.set_time(TIMELINE, duration=timestamps[frame])
        stream.log(CAMERA, rerun.Transform3D(translation=place, mat3x3=rotations[0].T @ rotation))


def _frustum_depth(path: np.ndarray) -> float:
    return _FRUSTUM_SHARE * max(1.0, float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum()))


def _log_tracks(stream: "rerun.RecordingStream", record: ClipRecord) -> None:
    """Masks as one picture of classes a frame, and boxes round what moves."""
    import rerun

    movers, resting = record.objects or [], record.resting or []
    classes = dict(enumerate(movers, start=1)) | dict(enumerate(resting, start=_FIRST_RESTING))
    if not classes:
        return
    context = [rerun.AnnotationInfo(0, "background", _CLEAR)]
    context += [
        rerun.AnnotationInfo(number, track.name, MOVER if number < _FIRST_RESTING else RESTING)
        for number, track in classes.items()
    ]
    stream.log(IMAGE, rerun.AnnotationContext(context), static=True)
    for frame, second in enumerate(record.window.timestamps):
        stream.set_time(TIMELINE, duration=second)
        stream.log(f"{IMAGE}/masks", rerun.SegmentationImage(_paint_classes(classes, frame, record.size), opacity=0.5))
        if not movers:
            continue
        boxes = {number: _box(track, frame) for number, track in classes.items() if number < _FIRST_RESTING}
        seen = {number: box for number, box in boxes.items() if box is not None}
        corners = rerun.Boxes2D(array=list(seen.values()), array_format=rerun.Box2DFormat.XYXY, class_ids=list(seen))
        stream.log(f"{IMAGE}/boxes", corners)


def _paint_classes(classes: dict[int, ObjectTrack], frame: int, size: tuple[int, int]) -> np.ndarray:
    picture = np.zeros(size[::-1], dtype=np.uint8)
    for number, track in sorted(classes.items(), reverse=True):  # what moves covers what rests
        mask = track.masks[frame]
        if mask is not None:
            picture[decode_mask(mask)] = number
    return picture


def _box(track: ObjectTrack, frame: int) -> list[int] | None:
    """Left, top, right and bottom of an object in one frame."""
    mask = track.masks[frame]
    rows, columns = np.nonzero(decode_mask(mask)) if mask is not None else ((), ())
    if not len(rows):
        return None
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]


def _log_curves(stream: "rerun.RecordingStream", record: ClipRecord) -> None:
    if record.camera is not None:
        for curve in camera_curves(record.camera, record.window.timestamps):
            _log_curve(stream, "curves/camera", curve)
    for number, track in enumerate(record.objects or (), start=1):
        for curve in object_curves(track, record.window.timestamps):
            _log_curve(stream, f"curves/object_{number}", curve)


def _log_curve(stream: "rerun.RecordingStream", group: str, curve: Curve) -> None:
    import rerun

    words = "".join(letter if letter.isalnum() else " " for letter in curve.name).lower().split()
    place = f"{group}/{'_'.join(words)}"
    stream.log(place, rerun.SeriesLines(names=[curve.name]), static=True)
    stream.send_columns(
        place,
        indexes=[rerun.TimeColumn(TIMELINE, duration=curve.seconds)],
        columns=rerun.Scalars.columns(scalars=curve.values),
    )


def _log_texts(stream: "rerun.RecordingStream", built: BuiltClip) -> None:
    """Labels at the start of their spans; what is known and asked as plain text: it comes from elsewhere."""
    import rerun

    for text, start, end in sorted(list_labels(built.record.facts), key=lambda label: label[1]):
        stream.set_time(TIMELINE, duration=start)
        stream.log(LABELS, rerun.TextLog(f"{text} ({start:.2f} s to {end:.2f} s)"))
    about = [f"{name}: {value}" for name, value in describe_record(built.record)]
    about += [f"{fault.code} in {fault.stage}: {fault.reason}; {fault.remedy}" for fault in built.faults]
    texts = {ABOUT: "\n\n".join(about)}
    texts |= {_document(number): _describe(question) for number, question in enumerate(built.questions, start=1)}
    for place, text in texts.items():
        stream.log(place, rerun.TextDocument(text, media_type="text/plain"), static=True)


def _document(number: int) -> str:
    return f"questions/{number}"


def _describe(question: dict[str, Any]) -> str:
    right = right_option(question)
    options = [f"{'[x]' if option == right else '[ ]'} {option}" for option in question["options"]]
    facts = [f"{name}: {json.dumps(value)}" for name, value in json.loads(question["facts"]).items()]
    parts = [question["task"], question["question"], "\n".join(options), question["response"], "\n".join(facts)]
    return "\n\n".join(parts)


def _arrange_views(record: ClipRecord, questions: Sequence[dict[str, Any]]) -> Any:
    """Pictures and space on the left, curves and texts on the right."""
    from rerun import blueprint

    pictures: list[Any] = [blueprint.Spatial2DView(origin=IMAGE, name="frames and masks")]
    if record.camera is not None:
        eye = _place_eye(camera_path(record.camera))
        pictures.append(blueprint.Spatial3DView(origin=WORLD, name="camera path", eye_controls=eye))
    series = [blueprint.TimeSeriesView(origin="curves/camera", name="camera, degrees")]
    series += [
        blueprint.TimeSeriesView(origin=f"curves/object_{number}", name=f"{track.name}, percent of the picture")
        for number, track in enumerate(record.objects or (), start=1)
    ]
    texts: list[Any] = [
        blueprint.TextDocumentView(origin=ABOUT, name="clip"),
        blueprint.TextLogView(origin=LABELS, name="labels"),
    ]
    texts += [
        blueprint.TextDocumentView(origin=_document(number), name=question["task"])
        for number, question in enumerate(questions, start=1)
    ]
    right = blueprint.Vertical(*series, blueprint.Tabs(*texts, active_tab=2 if questions else 0))
    return blueprint.Blueprint(
        blueprint.Horizontal(blueprint.Vertical(*pictures), right, column_shares=[3, 2]),
        collapse_panels=True,
    )


def _place_eye(path: np.ndarray) -> Any:
    """An eye behind and above the whole path, looking forward."""
    from rerun.blueprint import EyeControls3D

    if not len(path):
        return None
    middle = (path.min(axis=0) + path.max(axis=0)) / 2
    reach = float(np.ptp(path, axis=0).max()) + 2 * _frustum_depth(path)
    return EyeControls3D(position=middle + reach * np.array([0.4, -0.6, -1.2]), look_target=middle, eye_up=[0, -1, 0])
