"""What the training commands share: one YAML file for everything, and a run folder that is whole or absent."""

import argparse
import dataclasses
import difflib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import yaml

from ..modeling.atomic import atomic_dir
from ..modeling.errors import InputError
from ..trainers.row_checks import ON_BAD_ROW, usable_rows
from .config_file import read_config_file

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from datasets import Dataset
    from transformers import PreTrainedModel, ProcessorMixin, Trainer, TrainerCallback

TRAINING_LOG = "training_log.json"
_PLACES = ("model", "dataset", "output")
_COMPLETE = "complete"
_ROW_SETTINGS = ("image_root", "on_bad_row")

Config = TypeVar("Config", bound="DataclassInstance")


@dataclasses.dataclass
class Run:
    """Where a run reads and writes, and the settings of its trainer.

    Attributes:
        model (`str`): Folder or Hub id of the model to start from.
        dataset (`str`): Folder or Hub id of the rows.
        output (`Path`): Folder of the trained model.
        settings (`dict`): Fields of the trainer's configuration.
        image_root (`str`, *optional*): What relative picture names of a published JSONL file start from.
        on_bad_row (`str`): `"stop"` or `"skip"`.
    """

    model: str
    dataset: str
    output: Path
    settings: dict[str, Any]
    image_root: str | None = None
    on_bad_row: str = "stop"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints, beside the output, which appears only when it is complete."""
        return self.output.with_name(f"{self.output.name}-checkpoints")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, the three places, what to do with rows, and `--set FIELD=VALUE`."""
    parser.add_argument("--config", metavar="FILE.yaml", help="the recipe: model, dataset, output and trainer fields")
    parser.add_argument("--model", help="model to start from: a folder made by `fourdthinker`, or a Hub id")
    parser.add_argument("--dataset", help="folder or Hub id of 4D chain-of-thought rows, or a published .jsonl file")
    parser.add_argument("--output", help="folder to write; one that exists is replaced when training has ended")
    parser.add_argument(
        "--image-root",
        metavar="DIR",
        help="what relative picture names in a .jsonl file start from (default: the file's folder)",
    )
    parser.add_argument(
        "--on-bad-row",
        choices=ON_BAD_ROW,
        help="what a row that cannot be trained on does: stop before the first step (default), or skip that row",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a trainer field that wins over the file, e.g. --set learning_rate=1e-5; may be repeated",
    )


def run_training(args: argparse.Namespace, configuration: str, classes: Callable[[], tuple[type, type]]) -> None:
    """Train a model on one configuration of a dataset and save it with its processor, card and training log.

    Args:
        args (`argparse.Namespace`): What `add_run_arguments` asked for.
        configuration (`str`): `"dift"` or `"grpo"`.
        classes (`Callable`): Gives the trainer's configuration class and the trainer, once the arguments are read:
            importing them takes seconds that a mistyped argument should not wait for.
    """
    job = read_run(args)
    import torch

    from ..modeling import load_model

    config_class, trainer_class = classes()
    config: Any = build_config(config_class, job)
    rows = usable_rows(load_rows(job, configuration), job.on_bad_row)
    # Small steps vanish in half-precision weights; `bf16: true` computes in half precision all the same.
    model, processor = load_model(job.model, dtype=torch.float32)
    trainer = trainer_class(model, args=config, train_dataset=rows, processing_class=processor)
    train(trainer, job)
    if trainer.is_world_process_zero():
        save_run(model, processor, job, trainer.state.log_history)
        print(f"trained model in {job.output}")


def read_run(args: argparse.Namespace) -> Run:
    """The run that the file and the command line describe; the command line wins."""
    settings = read_config_file(args.config) if args.config else {}
    for item in args.set:
        field, equals, value = item.partition("=")
        if not equals:
            raise InputError(f"--set {item}: write it as FIELD=VALUE")
        settings[field] = yaml.safe_load(value)
    in_file = {name: settings.pop(name, None) for name in (*_PLACES, *_ROW_SETTINGS)}
    given = {name: getattr(args, name) or value for name, value in in_file.items()}
    for place in _PLACES:
        if not given[place]:
            raise InputError(f"no {place} given: name it with --{place}, or as `{place}:` in the --config file")
    chosen = {name: str(given[name]) for name in _ROW_SETTINGS if given[name] is not None}
    return Run(str(given["model"]), str(given["dataset"]), Path(given["output"]), settings, **chosen)


def build_config(config_class: type[Config], run: Run) -> Config:
    """Fill a trainer's configuration class from a run's settings.

    Raises:
        InputError: For a field that the class does not have, or a value that it does not take.
    """
    from transformers import HfArgumentParser

    class OneLineParser(HfArgumentParser):
        def error(self, message: str) -> NoReturn:
            raise InputError(message)

    known = {field.name for field in dataclasses.fields(config_class) if field.init} - {"output_dir"}
    for name in run.settings:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it is no field of {config_class.__name__}"
            raise InputError(f"unknown setting {name!r}: {hint}")
    arguments = [f"--output_dir={run.checkpoints}"]
    for name, value in run.settings.items():
        arguments += _as_arguments(name, value)
    try:
        return OneLineParser(config_class).parse_args_into_dataclasses(arguments)[0]
    except InputError:
        raise
    except ValueError as error:  # the class itself refused a combination of values
        raise InputError(str(error)) from error


def _as_arguments(name: str, value: Any) -> list[str]:
    # As text, so that a file's `1e-5` (a string to YAML) and the command line's go through one conversion.
    if value is None:
        return []
    if isinstance(value, list):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}={json.dumps(value) if isinstance(value, dict) else value}"]


def load_rows(run: Run, configuration: str) -> "Dataset":
    """The training rows of a run, their pictures left encoded until they are needed."""
    from datasets import Image, List, load_dataset

    if run.dataset.endswith(".jsonl"):
        from ..dataset_builders.published import read_published

        return read_published(Path(run.dataset), configuration, Path(run.image_root) if run.image_root else None)
    try:
        rows = load_dataset(run.dataset, configuration, split="train")
    except (FileNotFoundError, ValueError, ConnectionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"cannot read rows for {configuration!r} from {run.dataset}: {reason}; "
            "make them with `fourdthinker build-data`"
        ) from error
    if len(rows) == 0:
        raise InputError(f"{run.dataset} has no rows for {configuration!r}: make some with `fourdthinker build-data`")
    return rows.cast_column("frames", List(Image(decode=False)))


def train(trainer: "Trainer", run: Run) -> None:
    """Train, going on from the last checkpoint of the same run if there is one."""
    from transformers import ProgressCallback

    recipe = run.checkpoints / "run.json"
    described = json.dumps(dataclasses.asdict(run), default=str, sort_keys=True, indent=1)
    last = last_complete_checkpoint(run.checkpoints)
    trainer.add_callback(_mark_complete())
    if last and (not recipe.is_file() or recipe.read_text() != described):
        raise InputError(f"{run.checkpoints} holds checkpoints of another run: delete it, or choose another output")
    if last:
        print(f"resuming from {last}", file=sys.stderr)
    elif trainer.args.save_strategy != "no" and trainer.is_world_process_zero():
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        recipe.write_text(described)
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except InputError as error:
        bar = trainer.pop_callback(ProgressCallback)
        if bar and bar.training_bar:
            bar.training_bar.close()  # or the error's line would begin with the bar
        # One that a loader's process raised comes with its traceback, of which the last line is ours.
        raise InputError(str(error).strip().splitlines()[-1].rpartition("InputError: ")[2]) from error
    finally:
        # Trainer makes the folder whether or not it saves anything.
        if run.checkpoints.is_dir() and {path.name for path in run.checkpoints.iterdir()} <= {recipe.name}:
            shutil.rmtree(run.checkpoints)


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; torn ones, which an interruption leaves, are removed."""
    complete: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        step = path.name.removeprefix("checkpoint-")
        if step.isdecimal() and (path / _COMPLETE).is_file():
            complete[int(step)] = path
        elif path.is_dir():
            print(f"{path} is not complete and is removed", file=sys.stderr)
            shutil.rmtree(path)
    return complete[max(complete)] if complete else None


def _mark_complete() -> "TrainerCallback":
    from transformers import TrainerCallback

    class MarkComplete(TrainerCallback):
        """transformers resumes from a checkpoint that was cut off; ours has a file written last."""

        def on_save(self, args, state, control, **kwargs):
            if state.is_world_process_zero:
                (Path(args.output_dir) / f"checkpoint-{state.global_step}" / _COMPLETE).touch()

    return MarkComplete()


def save_run(
    model: "PreTrainedModel", processor: "ProcessorMixin", run: Run, log_history: Sequence[dict[str, Any]]
) -> None:
    """Write the trained model, its processor, card and `training_log.json` into the output folder, all or nothing."""
    from ..hub_cards import model_card

    described = dataclasses.asdict(run)
    log = {**described, "log_history": list(log_history)}
    with atomic_dir(run.output) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        (folder / TRAINING_LOG).write_text(json.dumps(log, default=str, indent=1) + "\n", encoding="utf-8")
        recipe = {name: str(value) if isinstance(value, Path) else value for name, value in described.items()}
        card = model_card(folder, recipe=recipe, datasets=[run.dataset], base_model=run.model, repo_id=str(run.output))
        (folder / "README.md").write_text(str(card), encoding="utf-8")
