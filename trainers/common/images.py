"""The picture columns of a dataset, left as they are stored until something needs their pixels."""

from datasets import Dataset, Image, List

PICTURE_COLUMNS = ("frames", "imagery", "imagery_masks")


def keep_images_encoded(rows: Dataset) -> Dataset:
    """The rows with every picture as the `{"bytes", "path"}` record that is stored; reading a row decodes none."""
    for name in PICTURE_COLUMNS:
        if name in rows.column_names:
            rows = rows.cast_column(name, List(Image(decode=False)))
    return rows
