"""Rows that name a video file: frames are decoded when a row is read, so that loading many videos costs nothing."""

from datasets import Dataset

from ..modeling.errors import InputError
from ..modeling.processing import FRAMES_PER_SECOND, MAX_FRAMES, Clip
from .sources.video_reader import read_frames

VIDEO_COLUMN = "video"


def decode_frames_when_read(rows: Dataset) -> Dataset:
    """Decode the file of the column `video`, where a row names one, to `frames` and `timestamps` when the row is read.

    Frames are sampled as the published evaluation does, one a second and 50 at most, with their true times; what
    encodes them fits them to a model as it does any frames. A row is decoded whenever it is read, but only once for
    all its copies in a batch, so a prompt's completions share one decoding. `select` and the like keep it so;
    `with_format(None)` shows the rows as they are stored.

    Args:
        rows (`datasets.Dataset`): Columns `id`, `video` (file name or nothing), `frames` and `timestamps`.

    Returns:
        `datasets.Dataset`: Rows whose reading raises an `InputError` that names them if their video cannot be read.
    """
    return rows.with_transform(_decode_videos)


def _decode_videos(batch: dict[str, list]) -> dict[str, list]:
    if not {"id", VIDEO_COLUMN, "frames", "timestamps"} <= batch.keys():
        return batch  # some columns alone, for which nothing needs decoding
    clips: dict[str, Clip] = {}
    for number, file in enumerate(batch[VIDEO_COLUMN]):
        if file is None:
            continue
        if file not in clips:
            clips[file] = _clip(file, batch["id"][number])
        batch["frames"][number], batch["timestamps"][number] = clips[file].frames, clips[file].timestamps
    return batch


def _clip(file: str, identity: str) -> Clip:
    try:
        return read_frames(file, fps=FRAMES_PER_SECOND, max_frames=MAX_FRAMES)
    except InputError as error:
        raise InputError(f"row {identity}: {error}") from error
