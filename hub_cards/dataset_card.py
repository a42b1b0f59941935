"""The card of a dataset of 4D rows. Its header tells `load_dataset` where each configuration's files are."""

from collections.abc import Collection, Mapping, Sequence

from huggingface_hub import DatasetCard, DatasetCardData

from .rendering import one_line, render

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

COLUMNS = {
    "id": "name of the row",
    "source": "the video or scene it was made from",
    "task": "kind of question",
    "question": "the question, without options",
    "options": "four option texts, or three, without letters",
    "answer": "letter of the right option",
    "frames": "frames of the clip, as images",
    "timestamps": "seconds from the start, one a frame",
    "facts": "JSON: the numbers that the answer follows from",
}
DIFT_COLUMNS = {
    "response": "reasoning with an `<output_image>` mark for each imagined frame, and the answer",
    "imagery": "the imagined frames, one a mark",
    "imagery_timestamps": "seconds from the start, one a mark",
    "imagery_masks": "where the imagined frame shows what is meant, white on black, one a mark",
}
# Where rows of MLLM-4D's questions differ.
MLLM4D_COLUMNS = {
    "camera_centers": "where the camera is in the two frames asked about: for each [x, y, z] in metres, right, down "
    "and forward of the camera in the first, or null where the answer does not need it",
    "object_centers": "the same of the object",
    "response": "the answer alone (`mllm4d_sft`), or after reasoning in five steps (`mllm4d_cold_start`)",
}
_MLLM4D = (
    "MLLM-4D's seven kinds of question about where camera and object are in two frames of a clip, and how that "
    "changes. The answers follow from geometry. There is no imagery: the columns for it are empty."
)


def dataset_card(
    configs: Mapping[str, Mapping[str, str | Sequence[str]]],
    n_rows: Mapping[str, Mapping[str, int]] | None = None,
    description: str | None = None,
    license: str | Sequence[str] | None = "apache-2.0",
    *,
    name: str = "4D chain of thought",
    sources: Sequence[str] = (),
    location: str = ".",
) -> DatasetCard:
    """Write the card of a dataset folder. `card.save(folder / "README.md")` puts it in its place.

    Args:
        configs (`Mapping[str, Mapping[str, str]]`): For each configuration, for each split, the path of its Parquet
            files relative to the folder (a pattern or a list).
        n_rows (`Mapping[str, Mapping[str, int]]`, *optional*): Number of rows, laid out the same way.
        description (`str`, *optional*): A paragraph on what is in it.
        license (`str` or `Sequence[str]`, *optional*, defaults to `"apache-2.0"`): Hub licence id, or those of several
            sources; `None` if the sources' terms apply.
        name (`str`, *optional*): Title.
        sources (`Sequence[str]`, *optional*): What the rows were made from.
        location (`str`, *optional*, defaults to `"."`): What the snippet loads: a Hub id, or this folder.

    Returns:
        `huggingface_hub.DatasetCard`
    """
    n_rows = n_rows or {}
    of_mllm4d = all(config.startswith("mllm4d_") for config in configs)
    licences = [license] if isinstance(license, str) else list(license or ())
    data = DatasetCardData(
        license=(licences if len(licences) > 1 else licences[0]) if licences else None,
        pretty_name=one_line(name),
        task_categories=["video-text-to-text", "visual-question-answering"],
        tags=["4dthinker", "video", "spatial-reasoning", "chain-of-thought"],
        size_categories=_size_category(sum(sum(splits.values()) for splits in n_rows.values())),
        configs=[
            {
                "config_name": config,
                "data_files": [
                    {"split": split, "path": path if isinstance(path, str) else list(path)}
                    for split, path in splits.items()
                ],
            }
            for config, splits in configs.items()
        ],
    )
    content = render(
        "dataset_card.md.jinja",
        header=data.to_yaml(),
        name=name,
        description=description or (_MLLM4D if of_mllm4d else None),
        licences=licences,
        sources=list(sources),
        configs=configs,
        n_rows=n_rows,
        columns=COLUMNS | _mllm4d_columns(configs),
        dift_columns=DIFT_COLUMNS if "dift" in configs else {},
        location=location,
    )
    return DatasetCard(content)


def _mllm4d_columns(configs: Collection[str]) -> dict[str, str]:
    """Columns that only MLLM-4D's configurations have, and what is other in those that all have."""
    others = [config for config in configs if not config.startswith("mllm4d_")]
    if len(others) == len(configs):
        return {}
    return {name: text for name, text in MLLM4D_COLUMNS.items() if not others or name not in DIFT_COLUMNS}


def _size_category(rows: int) -> str | None:
    if not rows:
        return None
    return next((category for limit, category in _SIZES if rows < limit), "n>1M")
