"""What the training commands share: arguments, settings from one YAML file, and the run itself."""

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modeling.errors import InputError, first_line
from ..modeling.records import RECORD_KINDS, is_row_file
from ..modeling.row_rules import ON_BAD_ROW
from .config_file import read_config_file
from .input_checks import check_run
from .models import add_revision_argument, print_note
from .packaged_recipes import find_recipe
from .setting_arguments import add_setting_arguments
from .trainer_settings import resolve_settings
from .training_progress import show_progress
from .user_errors import report_missing_packages
from .yaml_values import to_bool, to_text

if TYPE_CHECKING:
    from datasets import Dataset

    from ..modeling.row_rules import Stage

_PLACES = ("model", "dataset", "output")
_ALIASES = {"model_name_or_path": "model", "dataset_name": "dataset", "output_dir": "output"}  # as TRL names them
_REVISION = "model_revision"  # its name among TRL's settings
_ROW_SETTINGS = ("dataset_config", "eval_dataset", "image_root", "on_bad_row")


@dataclasses.dataclass
class Run:
    """Inputs, output and trainer settings of a run.

    Attributes:
        model (`str`): Folder or Hub id of the model to start from.
        dataset (`str`): Folder or Hub id of the rows.
        output (`Path`): Folder of the trained model.
        settings (`dict`): Fields of the trainer's configuration.
        dataset_config (`str`, *optional*): One of the dataset's configurations; by default the stage's own.
        eval_dataset (`str`, *optional*): Folder, Hub id or file of held-out rows; by default the dataset's test split.
        image_root (`str`, *optional*): Base folder of relative paths in a file of rows.
        on_bad_row (`str`): `"stop"` or `"skip"`.
    """

    model: str
    dataset: str
    output: Path
    settings: dict[str, Any]
    dataset_config: str | None = None
    eval_dataset: str | None = None
    image_root: str | None = None
    on_bad_row: str = "stop"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, beside the output, which appears only when it is complete."""
        return self.output.with_name(f"{self.output.name}-checkpoints")


def add_run_arguments(parser: argparse.ArgumentParser, stage: "Stage") -> None:
    """Add `--config` or `--recipe`, the three places, what to do with rows, and every field of the stage's settings.

    Args:
        parser (`argparse.ArgumentParser`): The command's parser.
        stage (`str`): `"dift"` or `"grpo"`.
    """
    parser.set_defaults(stage=stage)
    settings = parser.add_mutually_exclusive_group()
    settings.add_argument(
        "--config", metavar="FILE.yaml", help="the recipe: model, dataset, output and trainer fields"
    )
    settings.add_argument(
        "--recipe",
        metavar="NAME",
        help="a packaged recipe instead of a file, e.g. demo/dift; `fourdthinker recipes-dir` prints where they are",
    )
    parser.add_argument(
        "--model",
        *reversed(_spellings("model_name_or_path")),
        metavar="M",
        help="model to start from: a folder made by `fourdthinker`, or a Hub id",
    )
    add_revision_argument(parser)
    parser.add_argument(
        "--dataset",
        *reversed(_spellings("dataset_name")),
        metavar="D",
        help=f"folder or Hub id of rows, or a {RECORD_KINDS} file",
    )
    parser.add_argument(
        "--output",
        *reversed(_spellings("output_dir")),
        metavar="O",
        help="output folder; a model of an earlier training is replaced after this one",
    )
    parser.add_argument(
        *_spellings("dataset_config"),
        metavar="NAME",
        help="configuration of the dataset (default: `dift` or `grpo`, as the command)",
    )
    parser.add_argument(
        *_spellings("eval_dataset"),
        metavar="D",
        help="evaluation rows, used if eval_strategy is set (default: the test split)",
    )
    parser.add_argument(
        *_spellings("image_root"),
        metavar="DIR",
        help="base folder of relative paths in a file of rows, and the only folder that images and videos are read "
        "from (default: the file's own folder)",
    )
    parser.add_argument(
        *_spellings("on_bad_row"),
        choices=ON_BAD_ROW,
        help="how to handle invalid rows: stop before training (default) or skip them",
    )
    add_setting_arguments(parser, stage)


def _spellings(name: str) -> tuple[str, str]:
    """An option as we write it and as TRL does."""
    return f"--{name.replace('_', '-')}", f"--{name}"


def run_training(args: argparse.Namespace, stage: "Stage", classes: Callable[[], tuple[type, type]]) -> None:
    """Train a model on one configuration of a dataset and save it with its processor, card and training log.

    Args:
        args (`argparse.Namespace`): What `add_run_arguments` asked for.
        stage (`str`): `"dift"` or `"grpo"`; the name of the rows' configuration too, unless the run names one.
        classes (`Callable`): Gives the trainer's configuration class and the trainer, once the arguments are read:
            importing them takes seconds that a mistyped argument should not wait for.
    """
    job = read_run(args)
    configuration = job.dataset_config or stage
    job = dataclasses.replace(job, dataset_config=configuration)
    check_run(job, stage)
    from trl import get_peft_config

    from ..hub_cards import model_card
    from ..hub_cards.lineage import record_training
    from ..trainers.common.model_settings import ModelSettings
    from ..trainers.common.runs import check_checkpoints, save_run, train_or_resume

    config_class, trainer_class = classes()
    config, settings = build_config((config_class, ModelSettings), job)
    config.model_init_kwargs = settings.load_arguments()
    described = dataclasses.asdict(job)
    check_checkpoints(
        job.checkpoints, described, lambda fields: resolve_settings((config_class, ModelSettings), fields)
    )
    rows, held_out = load_rows(job.dataset, configuration, "train", job.image_root, job.on_bad_row), None
    if config.eval_strategy != "no":
        held_out = load_rows(
            job.eval_dataset or job.dataset, configuration, "test", job.image_root, job.on_bad_row, in_training=True
        )
    with report_missing_packages():
        trainer = trainer_class(
            job.model, args=config, train_dataset=rows, eval_dataset=held_out, peft_config=get_peft_config(settings)
        )
    show_progress(trainer, with_bar=not to_bool(job.settings.get("disable_tqdm")))

    def render_card(folder: Path) -> str:
        record_training(folder, trainer, job.model, job.dataset, configuration)
        return str(model_card(folder, repo_id=str(job.output)))

    train_or_resume(trainer, described)
    save_run(trainer, job.output, described, render_card)
    if trainer.is_world_process_zero():
        print(f"trained model in {job.output}")


def read_run(args: argparse.Namespace) -> Run:
    """The run that the file and the command line describe; the command line wins."""
    file = find_recipe(args.recipe, args.stage) if args.recipe else args.config
    settings = {**(read_config_file(file) if file else {}), **args.settings}
    for alias, place in _ALIASES.items():
        if alias in settings:
            if place in settings:
                raise InputError(f"{place} and {alias} are two names of one setting: give one of them")
            settings[place] = settings.pop(alias)
    revision = args.revision or settings.pop("revision", None)
    if revision is not None:
        if _REVISION in settings:
            raise InputError(f"revision and {_REVISION} are two names of one setting: give one of them")
        settings[_REVISION] = revision
    in_file = {name: settings.pop(name, None) for name in (*_PLACES, *_ROW_SETTINGS)}
    values = {name: getattr(args, name) or value for name, value in in_file.items()}
    for place in _PLACES:
        if not values[place]:
            raise InputError(f"no {place} given: name it with --{place}, or as `{place}:` in the --config file")
    chosen = {name: to_text(values[name]) for name in _ROW_SETTINGS if values[name] is not None}
    model, dataset, output = (to_text(values[place]) for place in _PLACES)
    return Run(model, dataset, Path(output), settings, **chosen)


def build_config(classes: Sequence[type], run: Run) -> list[Any]:
    """Fill dataclasses, a trainer's configuration first, from a run's settings.

    Raises:
        InputError: For a field that none of them has, or a value that it does not take.
    """
    values = resolve_settings(classes, run.settings)
    values |= {"output_dir": str(run.checkpoints), "on_bad_row": run.on_bad_row}
    try:
        with report_missing_packages():
            return [
                one(**{field.name: values[field.name] for field in dataclasses.fields(one) if field.init})
                for one in classes
            ]
    except InputError:
        raise
    except ValueError as error:  # the class itself rejects a combination of values
        raise InputError(str(error)) from error


def load_rows(
    dataset: str,
    configuration: str,
    split: str,
    image_root: str | None = None,
    on_bad_row: str = "stop",
    in_training: bool = False,
) -> "Dataset":
    """The rows of one split of a dataset, their images left encoded until they are needed.

    Args:
        dataset (`str`): Folder or Hub id of rows; or a file of rows, see
            [`~dataset_builders.sources.own_rows.read_row_file`], which is all of any split; or a folder of such files.
        configuration (`str`): A name that the dataset's card gives; of a file `"dift"` or `"grpo"`.
        split (`str`): `"train"` or `"test"`.
        image_root (`str`, *optional*): What relative file names in a file start from.
        on_bad_row (`str`, *optional*, defaults to `"stop"`): What a line of a file does that holds no such row.
        in_training (`bool`, *optional*, defaults to `False`): Whether they are for evaluation during training, which
            goes on without them, as the error then says.
    """
    from ..dataset_builders.sources.own_rows import find_row_file
    from ..modeling.dataset_files import load_split
    from ..trainers.common.images import keep_images_encoded

    if is_row_file(dataset):
        return _file_rows(Path(dataset), configuration, image_root, on_bad_row)
    try:
        rows = load_split(dataset, configuration, split)
    except (FileNotFoundError, ValueError, ConnectionError) as error:
        # What `build-data` has written holds no rows but those that its card names.
        is_own = Path(dataset).is_dir() and not Path(dataset, configuration).is_dir()
        file = find_row_file(Path(dataset), split) if is_own else None
        if file is not None:
            return _file_rows(file, configuration, image_root, on_bad_row)
        reason = first_line(error)
        remedy = f"make them with `fourdthinker build-data`, or name a {RECORD_KINDS} file of your own"
        if split == "test":
            remedy = "build some with `fourdthinker build-data --held-out N`, or name another dataset"
            if in_training:
                remedy += "; training goes on without them by --set eval_strategy=no"
        raise InputError(
            f"cannot read {split} rows for {configuration!r} from {dataset}: {reason}; {remedy}"
        ) from error
    if len(rows) == 0:
        raise InputError(
            f"{dataset} has no {split} rows for {configuration!r}: make some with `fourdthinker build-data`"
        )
    return keep_images_encoded(rows)


def _file_rows(file: Path, configuration: str, image_root: str | None, on_bad_row: str) -> "Dataset":
    from ..dataset_builders.sources.own_rows import read_row_file

    return read_row_file(file, configuration, image_root or None, on_bad_row, report=print_note)


def describe_progress(args: argparse.Namespace) -> str | None:
    """Describe what an interrupted run resumes from, or `None`."""
    from ..trainers.common.checkpoints import last_complete_checkpoint

    last = last_complete_checkpoint(read_run(args).checkpoints)
    return None if last is None else f"{last} is complete"
