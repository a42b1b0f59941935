"""What a clip's record holds, drawn: outlines on its frames, charts of its curves and labels."""

from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
from PIL import Image

from ..clip_record import ClipRecord, ObjectTrack
from ..geometry.masks import decode_mask
from .charts import COLOURS, label_chart, path_chart, time_chart
from .curves import Curve, camera_curves, camera_path, list_labels, object_curves

MOVER, RESTING = (255, 190, 0), (0, 220, 220)  # RGB; red is the imagery's


def draw_tracks(picture: Image.Image, record: ClipRecord, second: float) -> Image.Image:
    """Outline what moves and what rests in the frame of a record that lies nearest to a time."""
    frame = int(np.abs(np.array(record.window.timestamps) - second).argmin())
    pixels = np.array(picture)
    for tracks, colour in ((record.resting, RESTING), (record.objects, MOVER)):
        for mask in _masks(tracks or (), frame):
            seen = cv2.resize(mask.astype(np.uint8), picture.size, interpolation=cv2.INTER_AREA)
            outlines, _ = cv2.findContours(seen, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(pixels, outlines, -1, colour, 2)
    return Image.fromarray(pixels)


def draw_charts(record: ClipRecord, span: tuple[float, float] | None) -> list[dict[str, Any]]:
    """Charts with their titles and legends; none of what is unknown.

    Args:
        record ([`ClipRecord`]): Of the clip.
        span (`tuple[float, float]`, *optional*): Seconds to shade, which a question is about.
    """
    window = record.window
    labels = list_labels(record.facts)
    charts: list[tuple[str, list[Curve], str]] = [
        ("Labels and the spans they hold for", [], label_chart(labels, (window.timestamps[0], window.timestamps[-1])))
    ]
    if record.camera is not None:
        curves = camera_curves(record.camera, window.timestamps)
        title = "Camera since its first pose, degrees; negative: the opposite way"
        charts.append((title, curves, time_chart(curves, "degrees", span)))
        if record.camera.kind in ("up_to_scale", "metric"):
            unit = "metres" if record.camera.kind == "metric" else "depths of the scene"
            charts.append((f"Camera path from above, {unit}", [], path_chart(camera_path(record.camera), unit)))
    for track in record.objects or ():
        curves = object_curves(track, window.timestamps)
        title = f"{track.name[:1].upper()}{track.name[1:]} in the picture, percent"
        charts.append((title, curves, time_chart(curves, "percent", span)))
    return [
        {"title": title, "drawing": drawing, "legend": [(c.name, COLOURS[i]) for i, c in enumerate(curves)]}
        for title, curves, drawing in charts
        if drawing
    ]


def _masks(tracks: Iterable[ObjectTrack], frame: int) -> Iterable[np.ndarray]:
    return (decode_mask(mask) for track in tracks if (mask := track.masks[frame]) is not None)
