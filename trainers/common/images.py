"""Keep the image columns of a dataset encoded until their pixels are needed."""

from datasets import Dataset, Image, List

from ...dataset_builders.loading import VIDEO_COLUMN

IMAGE_COLUMNS = ("frames", "imagery", "imagery_masks")


def clip_columns(rows: Dataset) -> list[str]:
    """The columns that a row's clip is read from: `frames` and `timestamps`, and `video` with `id` where rows have it.

    Without all of them, a row that names a video is not decoded when it is read.
    """
    return ["frames", "timestamps", *(["id", VIDEO_COLUMN] if VIDEO_COLUMN in rows.column_names else [])]


def keep_images_encoded(rows: Dataset) -> Dataset:
    """The rows with every image as the `{"bytes", "path"}` record that is stored; reading a row decodes none."""
    for name in IMAGE_COLUMNS:
        if name in rows.column_names:
            rows = rows.cast_column(name, List(Image(decode=False)))
    return rows
