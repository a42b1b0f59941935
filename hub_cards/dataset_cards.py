"""The card of a dataset of 4D rows. Its header tells `load_dataset` where each configuration's files are."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from os import PathLike
from pathlib import Path

from huggingface_hub import DatasetCard, DatasetCardData

from ..dataset_builders.fourd_cot import CONTENT, describe_configurations
from ..dataset_builders.gates.report import keep_section
from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .build_record import BuildRecord, read_build
from .citations import cite
from .dataset_facts import ConfigurationFacts, dataset_info, read_dataset_facts
from .example_row import describe_row, draw_row, read_example_row
from .licences import HUB_LICENCES, OTHER, describe_terms
from .own_text import END, MARKER, is_generated, keep_own_text
from .rendering import inline, one_line, render
from .run_facts import project_links, short_commit

CARD = "README.md"

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
    sources: Sequence[str] | Mapping[str, Sequence[str]] = (),
    location: str = ".",
    contents: Mapping[str, str] | None = None,
    facts: Mapping[str, ConfigurationFacts] | None = None,
    build: BuildRecord | None = None,
    row: str | None = None,
    sheet: str | None = None,
    revision: str | None = None,
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
        sources (`Sequence[str]` or `Mapping`, *optional*): What the rows were made from, perhaps each with licences.
        location (`str`, *optional*, defaults to `"."`): What the snippet loads: a Hub id, or this folder.
        contents (`Mapping[str, str]`, *optional*): SHA-256 of each configuration's files.
        facts (`Mapping[str, ConfigurationFacts]`, *optional*): As of [`read_dataset_facts`].
        build ([`BuildRecord`], *optional*): How it was built.
        row (`str`, *optional*): A row in words.
        sheet (`str`, *optional*): Place of the picture with that row's frames.
        revision (`str`, *optional*): Tag or commit that the snippet pins.

    Returns:
        `huggingface_hub.DatasetCard`
    """
    n_rows = n_rows or {}
    of_mllm4d = all(config.startswith("mllm4d_") for config in configs)
    licences = [license] if isinstance(license, str) else list(license or ())
    named = dict(sources) if isinstance(sources, Mapping) else dict.fromkeys(sources, ())
    known = [one if one in HUB_LICENCES else OTHER for one in licences]
    data = DatasetCardData(
        language="en",
        license=(known if len(known) > 1 else known[0]) if known else None,
        pretty_name=one_line(name),
        task_categories=["video-text-to-text", "visual-question-answering"],
        tags=["4dthinker", "video", "spatial-reasoning", "chain-of-thought"],
        size_categories=_size_categories(sum(sum(splits.values()) for splits in n_rows.values())),
        annotations_creators=["machine-generated"],
        source_datasets=["original"],
        configs=describe_configurations(configs, contents),
        dataset_info=dataset_info(facts) if facts else None,
    )
    content = render(
        "dataset_card.md.jinja",
        header=data.to_yaml(),
        name=name,
        description=description or (_MLLM4D if of_mllm4d else None),
        marker=MARKER,
        end=END,
        licences=licences,
        terms=describe_terms([*licences, *(one for theirs in named.values() for one in theirs)]),
        source_lines=[
            f"{inline(name)}{': ' if theirs else ''}{inline(', '.join(theirs))}" for name, theirs in named.items()
        ],
        configs=configs,
        licence_rows=_licence_line(facts),
        counts=_count_table(configs, n_rows),
        tasks=_task_table(facts),
        letters=_letter_table(facts),
        build=build,
        commit=short_commit(build.commit) if build and build.commit else None,
        row=row,
        sheet=sheet,
        revision=revision,
        links=project_links(),
        citations=cite(build.version if build else None, configs),
        columns=COLUMNS | _mllm4d_columns(configs),
        dift_columns=DIFT_COLUMNS if "dift" in configs else {},
        location=location,
    )
    return DatasetCard(content)


def write_dataset_card(
    folder: str | PathLike,
    revision: str | None = None,
    repo_id: str | None = None,
    *,
    license: str | Sequence[str] | None = None,
) -> Path:
    """Write a data set's card anew from its folder, as it is before it is published.

    Configurations and licence are those of the present card, what is in them is counted in the files, and gates keep
    their section. A card that this package did not write stays as it is; so does what stands below the last line.

    Args:
        folder (`str` or `PathLike`): That `fourdthinker build-data` has written.
        revision (`str`, *optional*): Tag or commit that the snippet pins.
        repo_id (`str`, *optional*): Where it will be published; the snippet loads it from there.
        license (`str` or `Sequence[str]`, *optional*): In place of the present card's.

    Returns:
        `Path`: `README.md`.

    Raises:
        InputError: If there is no card, or a file that it names cannot be read.
    """
    folder = Path(folder)
    path = folder / CARD
    if not path.is_file():
        raise InputError(f"{folder} is no dataset folder: name one that `fourdthinker build-data` has written")
    before = path.read_text(encoding="utf-8")
    if not is_generated(before):
        return path
    header = DatasetCard(before, ignore_metadata_errors=True).data.to_dict()
    files = _listed_files(header)
    facts, build = read_dataset_facts(folder, files), read_build(folder)
    row = _choose_row(folder, files)
    card = dataset_card(
        files,
        {name: {split: of.rows for split, of in one.splits.items()} for name, one in facts.items()},
        build.description,
        license if license is not None else header.get("license"),
        name=header.get("pretty_name", "4D chain of thought"),
        sources=build.sources,
        location=repo_id or ".",
        contents=_listed_contents(header),
        facts=facts,
        build=build,
        row=None if row is None else describe_row(row),
        sheet=None if row is None else draw_row(folder, row),
        revision=revision,
    )
    text = keep_own_text(keep_section(str(card), before), before)
    if text != before:
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return path


def _listed_files(header: Mapping) -> dict[str, dict[str, list[str]]]:
    files: dict[str, dict[str, list[str]]] = {}
    for one in header.get("configs") or ():
        splits = {part["split"]: part["path"] for part in one["data_files"]}
        files[one["config_name"]] = {
            split: [paths] if isinstance(paths, str) else list(paths) for split, paths in splits.items()
        }
    return files


def _listed_contents(header: Mapping) -> dict[str, str]:
    described = {one["config_name"]: one.get("description", "") for one in header.get("configs") or ()}
    return {name: text.removeprefix(CONTENT) for name, text in described.items() if text.startswith(CONTENT)}


def _choose_row(folder: Path, files: Mapping[str, Mapping[str, Sequence[str]]]) -> dict | None:
    """The first training row of the default configuration."""
    splits = next(iter(files.values()), {})
    paths = splits.get("train") or next(iter(splits.values()), [])
    return read_example_row(folder / paths[0]) if paths else None


def _count_table(configs: Mapping[str, Mapping], n_rows: Mapping[str, Mapping[str, int]]) -> list[list[str]]:
    lines = [["configuration", "split", "rows"]]
    for place, (config, splits) in enumerate(configs.items()):
        for split in splits:
            count = n_rows.get(config, {}).get(split)
            name = f"{config} (default)" if not place and len(configs) > 1 else config
            lines.append([name, split, "not counted" if count is None else f"{count:,}"])
    return lines


def _task_table(facts: Mapping[str, ConfigurationFacts] | None) -> list[list[str]]:
    """Rows of each task in each split of each configuration."""
    places = [(name, split, of.tasks) for name, one in (facts or {}).items() for split, of in one.splits.items()]
    tasks = sorted({str(task) for _, _, counted in places for task in counted})
    heading = ["task", *(f"{name}, {split}" for name, split, _ in places)]
    return [heading, *([task, *(f"{counted[task]:,}" for *_, counted in places)] for task in tasks)] if tasks else []


def _licence_line(facts: Mapping[str, ConfigurationFacts] | None) -> str | None:
    """How many rows of the default configuration name which licence of their video."""
    first = next(iter((facts or {}).values()), None)
    if first is None:
        return None
    counted = sum((of.licences for of in first.splits.values()), Counter())
    return ", ".join(f"{licence} ({count:,})" for licence, count in counted.most_common()) or None


def _letter_table(facts: Mapping[str, ConfigurationFacts] | None) -> list[list[str]]:
    """How often each letter is right, in each split of each configuration."""
    lines = []
    letters = sorted({letter for one in (facts or {}).values() for of in one.splits.values() for letter in of.letters})
    for name, one in (facts or {}).items():
        for split, of in one.splits.items():
            total = max(1, sum(of.letters.values()))
            shares = [f"{100 * of.letters[letter] / total:.1f}" for letter in letters]
            lines.append([f"{name}, {split}", *shares])
    return [["% right", *letters], *lines] if letters else []


def _mllm4d_columns(configs: Collection[str]) -> dict[str, str]:
    """Columns that only MLLM-4D's configurations have, and what is other in those that all have."""
    others = [config for config in configs if not config.startswith("mllm4d_")]
    if len(others) == len(configs):
        return {}
    return {name: text for name, text in MLLM4D_COLUMNS.items() if not others or name not in DIFT_COLUMNS}


def _size_categories(rows: int) -> list[str] | None:
    """The Hub wants a list, though a data set has one size."""
    if not rows:
        return None
    return [next((category for limit, category in _SIZES if rows < limit), "n>1M")]
