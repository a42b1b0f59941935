"""Builder of 4D chain-of-thought datasets: write rows as Parquet with a card."""

import hashlib
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import datasets
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import DatasetCard, DatasetCardData

from ..modeling.errors import InputError
from ..modeling.tokens import AnswerForm
from .schema import DIFT_FEATURES, GRPO_FEATURES, MLLM4D_FEATURES, OPTIONAL_COLUMNS
from .sources.world_mllm4d import mllm4d_rows
from .sources.world_motion import world_rows

# What each configuration keeps of the rows: its columns, and the tasks it is limited to.
_COLUMNS = {
    "dift": DIFT_FEATURES,
    "grpo": GRPO_FEATURES,
    "camera": DIFT_FEATURES,
    "object": DIFT_FEATURES,
    "future": DIFT_FEATURES,
    **MLLM4D_FEATURES,
}
CONTENT = "sha256 "  # before the hash of a configuration's files in its card
_ONLY_TASK = {"camera": "camera_motion", "object": "object_motion"}
_ONLY_FUTURE = "future"

Rows = Iterable[Mapping]
WorldQuestions = Literal["motion", "future", "places"]


@dataclass
class FourDCoTConfig(datasets.BuilderConfig):
    """Settings of the rows to build.

    Attributes:
        questions (`int`): Training questions of each task, from the rendered world.
        held_out (`int`): Questions of each task on clips that no training question uses.
        seed (`int`): Another seed gives other training clips; the held-out ones stay.
        workers (`int`): Rendering processes.
        answer_form (`str`): `"letter"` for `<answer>B. Pan Right</answer>`, as published; `"text"` without the letter.
    """

    questions: int = 1000
    held_out: int = 400
    seed: int = 0
    workers: int = 1
    answer_form: AnswerForm = "letter"


class FourDCoT(datasets.GeneratorBasedBuilder):
    """Builds rows of the rendered world, or of rows that are passed in.

    The configurations are `dift`, `grpo`, `camera`, `object` and `future`; and of MLLM-4D's questions `mllm4d_sft`,
    `mllm4d_cold_start` and `mllm4d_grpo`, one for each stage.

    Args:
        rows (`Mapping[str, Iterable[Mapping]]`, *optional*): Rows of each split, in place of the rendered world.

    Example:

    ```python
    builder = FourDCoT(config_name="dift", questions=100, held_out=20)
    builder.download_and_prepare()
    builder.as_dataset(split="train")
    ```
    """

    VERSION = datasets.Version("0.1.0")
    BUILDER_CONFIG_CLASS = FourDCoTConfig
    BUILDER_CONFIGS = list(map(FourDCoTConfig, _COLUMNS))
    DEFAULT_CONFIG_NAME = "dift"
    # Rows hold a dozen pictures each, and a row group is written, and read again, as one piece.
    DEFAULT_WRITER_BATCH_SIZE = 20

    def __init__(self, *args, rows: Mapping[str, Rows] | None = None, **kwargs):
        self._rows = rows
        if rows is not None:
            # The cache knows a dataset by its arguments, of which rows are none: never take other rows for these.
            kwargs.setdefault("hash", uuid.uuid4().hex)
        super().__init__(*args, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=_COLUMNS[self.config.name])

    def _split_generators(self, dl_manager) -> list[datasets.SplitGenerator]:
        rows = self._rows if self._rows is not None else self._world()
        return [datasets.SplitGenerator(name=split, gen_kwargs={"rows": rows[split]}) for split in rows]

    def _world(self) -> dict[str, Rows]:
        config = self.config
        counts = {"train": config.questions, "test": config.held_out}
        rendered = partial(_world_split, config.name, workers=config.workers, answer_form=config.answer_form)
        return {split: rendered(split, count, config.seed) for split, count in counts.items() if count}

    def _generate_examples(self, rows: Rows) -> Iterator[tuple[str, dict]]:
        only_task = _ONLY_TASK.get(self.config.name)
        columns = _COLUMNS[self.config.name]
        for row in rows:
            if only_task in (None, row["task"]):
                yield row["id"], {name: row.get(name) if name in OPTIONAL_COLUMNS else row[name] for name in columns}


class Written(NamedTuple):
    """Content of a dataset folder.

    Attributes:
        files (`dict[str, dict[str, list[str]]]`): For each configuration, for each split, its Parquet files relative
            to the folder.
        counts (`dict[str, dict[str, int]]`): Number of rows, laid out the same way.
        contents (`dict[str, str]`): SHA-256 of each configuration's files, hexadecimal.
    """

    files: dict[str, dict[str, list[str]]]
    counts: dict[str, dict[str, int]]
    contents: dict[str, str] = {}


def write_dataset(
    rows: Mapping[str, Mapping[str, Rows]], folder: Path, card: Callable[[Written], str] | None = None
) -> Written:
    """Write rows as Parquet, with a card by which plain `load_dataset(folder, configuration)` finds them.

    Args:
        rows (`Mapping[str, Mapping[str, Iterable[Mapping]]]`): For each configuration, for each split, its rows.
        folder (`Path`): An existing folder; use `modeling.atomic.atomic_dir` for all or nothing.
        card (`Callable`, *optional*): Makes the text of the `README.md`, whose header must name the files; by default
            there is nothing else in it.

    Raises:
        InputError: If a split has no rows.
    """
    written = Written({}, {}, {})
    for name, splits in rows.items():
        # What the builder leaves beside the rows speaks of this machine: it stays in a folder that goes.
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            builder = FourDCoT(config_name=name, cache_dir=scratch, rows=splits)
            _prepare(builder, f"{scratch}/out")
            (folder / name).mkdir()
            written.counts[name] = {split: info.num_examples for split, info in builder.info.splits.items()}
            written.files[name] = {
                split: [_place(shard, split, folder / name) for shard in _shards(Path(scratch, "out"), split)]
                for split in builder.info.splits
            }
        written.contents[name] = _hash_files(folder / path for paths in written.files[name].values() for path in paths)
        empty = [split for split, count in written.counts[name].items() if count == 0]
        if empty:
            raise InputError(f"{name!r} would have no rows in its split {empty[0]!r}: nothing was written")
    text = _bare_card(written) if card is None else card(written)
    (folder / "README.md").write_text(text, encoding="utf-8")
    return written


def build_world(
    folder: Path,
    clips: Mapping[str, int],
    seed: int = 0,
    workers: int = 1,
    answer_form: AnswerForm = "letter",
    card: Callable[[Written], str] | None = None,
    configurations: Sequence[str] = ("dift", "grpo"),
    grpo_clips: int | None = None,
    questions: WorldQuestions = "motion",
) -> Written:
    """Render the world and write it as a dataset, by default of the configurations `dift` and `grpo`.

    Args:
        folder (`Path`): An existing folder.
        clips (`Mapping[str, int]`): Questions of each task, by split (`train`, `test`).
        seed (`int`, *optional*, defaults to 0): Another seed gives other training clips.
        workers (`int`, *optional*, defaults to 1): Rendering processes.
        answer_form (`str`, *optional*, defaults to `"letter"`): As in [`FourDCoTConfig`].
        card (`Callable`, *optional*): As in [`write_dataset`].
        configurations (`Sequence[str]`, *optional*): Names of [`FourDCoT`]'s.
        grpo_clips (`int`, *optional*): Training questions of each task of `grpo`, if other than those of `dift`.
        questions (`str`, *optional*, defaults to `"motion"`): What `dift` and `grpo` ask: `"motion"`, how camera and
            objects move; `"future"`, what comes after a cut; `"places"`, in which part of the image an object
            will be.

    Raises:
        InputError: If `questions` is none of these, or a number is out of range.
    """
    if questions not in get_args(WorldQuestions):
        raise InputError(f"questions is {questions!r}: choose one of {', '.join(get_args(WorldQuestions))}")
    rendered = partial(_world_split, seed=seed, workers=workers, answer_form=answer_form, questions=questions)
    rows: dict[str, dict[str, Rows]] = {
        name: {split: rendered(name, split, count) for split, count in clips.items()} for name in configurations
    }
    if grpo_clips is not None and "grpo" in rows:
        rows["grpo"]["train"] = rendered("grpo", "train", grpo_clips)
    # The held-out rows of all but MLLM-4D's are the same, so they are rendered once.
    motion_splits = [splits for name, splits in rows.items() if name not in MLLM4D_FEATURES and "test" in splits]
    held_out = list(motion_splits[0]["test"]) if motion_splits else []
    for splits in motion_splits:
        splits["test"] = held_out
    return write_dataset(rows, folder, card)


def _world_split(
    name: str,
    split: str,
    count: int,
    seed: int,
    workers: int,
    answer_form: AnswerForm,
    questions: WorldQuestions = "motion",
) -> Iterator[dict]:
    """The rendered rows of a configuration's split."""
    if name in MLLM4D_FEATURES:
        yield from mllm4d_rows(split, count, name.removeprefix("mllm4d_"), seed, workers, answer_form)
        return
    # GRPO learns from other clips than DIFT, from which the answers are known by heart.
    of_stage = 2 * seed + (name == "grpo") if split == "train" else 0
    if questions == "places":
        from .sources.world_places import place_rows  # takes the extra `data`, for masks

        yield from place_rows(split, count, of_stage, workers, answer_form)
        return
    if questions == "future" or name == _ONLY_FUTURE:
        from .sources.world_future import future_rows  # takes the extra `data`, for masks

        yield from future_rows(split, count, of_stage, workers, answer_form)
        return
    yield from world_rows(split, count, of_stage, workers, answer_form)


def _prepare(builder: FourDCoT, folder: str) -> None:
    try:
        builder.download_and_prepare(folder, file_format="parquet")
    except DatasetGenerationError as error:
        # What was wrong with the rows or with the disk, without the wrapping.
        if isinstance(error.__cause__, InputError | OSError):
            raise error.__cause__ from error
        raise


def _shards(folder: Path, split: str) -> list[Path]:
    stem = f"{FourDCoT.__module__.rpartition('.')[2]}-{split}"
    return sorted([*folder.glob(f"{stem}.parquet"), *folder.glob(f"{stem}-?????-of-?????.parquet")])


def _place(shard: Path, split: str, folder: Path) -> str:
    """Move a shard to its place: the same name whatever it holds, so that a rebuilt data set replaces its files."""
    _, _, number = shard.stem.partition(f"-{split}")
    target = folder / f"{split}{number or '-00000-of-00001'}.parquet"
    shard.rename(target)
    return f"{folder.name}/{target.name}"


def _hash_files(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def describe_configurations(
    files: Mapping[str, Mapping[str, str | Sequence[str]]], contents: Mapping[str, str] | None = None
) -> list[dict]:
    """The field `configs` of a card's header, by which `load_dataset` finds the files; the first is the default.

    `datasets` caches a folder's rows under what its card says of them. The hash of the content stands there, or rows
    that were built again would never be seen where the old ones had been loaded once.

    Args:
        files (`Mapping`): For each configuration, for each split, a path, a pattern or several paths.
        contents (`Mapping[str, str]`, *optional*): As of [`Written`].
    """
    configurations: list[dict] = []
    for name, splits in files.items():
        places = [
            {"split": split, "path": paths if isinstance(paths, str) else list(paths)}
            for split, paths in splits.items()
        ]
        default = {} if configurations else {"default": True}
        content = {"description": f"{CONTENT}{contents[name]}"} if contents and name in contents else {}
        configurations.append({"config_name": name, "data_files": places, **default, **content})
    return configurations


def _bare_card(written: Written) -> str:
    configurations = describe_configurations(written.files, written.contents)
    return str(DatasetCard(f"---\n{DatasetCardData(configs=configurations).to_yaml()}\n---\n"))
