"""What the training commands share: one YAML file for everything, and a run folder that is whole or absent."""

import argparse
import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modeling.atomic import atomic_dir, atomic_path, remove_leftovers
from ..modeling.errors import InputError
from ..trainers.common.row_validation import ON_BAD_ROW, masks_needed, usable_rows
from .config_file import read_config_file
from .input_checks import check_run
from .packaged_recipes import find_recipe
from .resuming import check_same_run
from .setting_arguments import add_setting_arguments
from .trainer_settings import resolve_settings
from .training_progress import show_progress
from .yaml_values import to_bool, to_text

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import ProcessorMixin, Trainer, TrainerCallback

    from ..modeling.row_rules import Stage

TRAINING_LOG, TRAINING_PLOT = "training_log.json", "training.png"
_PLACES = ("model", "dataset", "output")
_ALIASES = {"model_name_or_path": "model", "dataset_name": "dataset", "output_dir": "output"}  # as TRL names them
_COMPLETE = "complete"
_RECORD = "run.json"
_ROW_SETTINGS = ("dataset_config", "eval_dataset", "image_root", "on_bad_row")


@dataclasses.dataclass
class Run:
    """Where a run reads and writes, and the settings of its trainer.

    Attributes:
        model (`str`): Folder or Hub id of the model to start from.
        dataset (`str`): Folder or Hub id of the rows.
        output (`Path`): Folder of the trained model.
        settings (`dict`): Fields of the trainer's configuration.
        dataset_config (`str`, *optional*): One of the dataset's configurations; by default the stage's own.
        eval_dataset (`str`, *optional*): Folder, Hub id or file of held-out rows; by default the dataset's test split.
        image_root (`str`, *optional*): What relative file names in a published JSONL file start from.
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

    def recipe(self) -> dict[str, Any]:
        """What `--config` takes to make the same run again."""
        places = {name: str(getattr(self, name)) for name in _PLACES}
        rows = {name: getattr(self, name) for name in _ROW_SETTINGS if getattr(self, name) is not None}
        return {**places, **rows, **self.settings}

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
    parser.add_argument(
        "--dataset",
        *reversed(_spellings("dataset_name")),
        metavar="D",
        help="folder or Hub id of 4D chain-of-thought rows, or a published .jsonl file",
    )
    parser.add_argument(
        "--output",
        *reversed(_spellings("output_dir")),
        metavar="O",
        help="output folder; an existing one is replaced after training",
    )
    parser.add_argument(
        *_spellings("dataset_config"),
        metavar="NAME",
        help="which of the dataset's configurations (default: the stage's own)",
    )
    parser.add_argument(
        *_spellings("eval_dataset"),
        metavar="D",
        help="held-out rows, if eval_strategy asks for them (default: the test split)",
    )
    parser.add_argument(
        *_spellings("image_root"),
        metavar="DIR",
        help="what relative file names in a .jsonl file start from, and the only folder that files are read from "
        "(default: the .jsonl file's folder)",
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


def run_training(args: argparse.Namespace, configuration: "Stage", classes: Callable[[], tuple[type, type]]) -> None:
    """Train a model on one configuration of a dataset and save it with its processor, card and training log.

    Args:
        args (`argparse.Namespace`): What `add_run_arguments` asked for.
        configuration (`str`): The stage, `"dift"` or `"grpo"`; the rows' configuration too, unless the run names one.
        classes (`Callable`): Gives the trainer's configuration class and the trainer, once the arguments are read:
            importing them takes seconds that a mistyped argument should not wait for.
    """
    job = read_run(args)
    stage, rows_of = configuration, job.dataset_config or configuration
    job = dataclasses.replace(job, dataset_config=rows_of)
    check_run(job, stage)
    from trl import get_peft_config

    from ..modeling import load_model
    from ..trainers.common.model_settings import ModelSettings

    config_class, trainer_class = classes()
    config, settings = build_config((config_class, ModelSettings), job)
    masks = masks_needed(config, job.model)
    rows, held_out = _checked_rows(job, job.dataset, rows_of, "train", stage, masks), None
    if config.eval_strategy != "no":
        held_out = _checked_rows(job, job.eval_dataset or job.dataset, rows_of, "test", stage, masks)
    model, processor = load_model(job.model, **settings.load_arguments())
    trainer = trainer_class(
        model,
        args=config,
        train_dataset=rows,
        eval_dataset=held_out,
        processing_class=processor,
        peft_config=get_peft_config(settings),
    )
    show_progress(trainer, with_bar=not to_bool(job.settings.get("disable_tqdm")))
    train(trainer, job)
    save_run(trainer, processor, job)
    if trainer.is_world_process_zero():
        print(f"trained model in {job.output}")


def _checked_rows(job: Run, dataset: str, configuration: str, split: str, stage: "Stage", masks: bool) -> "Dataset":
    rows = load_rows(dataset, configuration, split, job.image_root, job.on_bad_row)
    return usable_rows(rows, stage, job.on_bad_row, masks)


def read_run(args: argparse.Namespace) -> Run:
    """The run that the file and the command line describe; the command line wins."""
    file = find_recipe(args.recipe) if args.recipe else args.config
    settings = {**(read_config_file(file) if file else {}), **args.settings}
    for alias, place in _ALIASES.items():
        if alias in settings:
            if place in settings:
                raise InputError(f"{place} and {alias} are two names of one setting: give one of them")
            settings[place] = settings.pop(alias)
    in_file = {name: settings.pop(name, None) for name in (*_PLACES, *_ROW_SETTINGS)}
    given = {name: getattr(args, name) or value for name, value in in_file.items()}
    for place in _PLACES:
        if not given[place]:
            raise InputError(f"no {place} given: name it with --{place}, or as `{place}:` in the --config file")
    chosen = {name: to_text(given[name]) for name in _ROW_SETTINGS if given[name] is not None}
    model, dataset, output = (to_text(given[place]) for place in _PLACES)
    return Run(model, dataset, Path(output), settings, **chosen)


def build_config(classes: Sequence[type], run: Run) -> list[Any]:
    """Fill dataclasses, a trainer's configuration first, from a run's settings.

    Raises:
        InputError: For a field that none of them has, or a value that it does not take.
    """
    values = {**resolve_settings(classes, run.settings), "output_dir": str(run.checkpoints)}
    try:
        return [
            one(**{field.name: values[field.name] for field in dataclasses.fields(one) if field.init})
            for one in classes
        ]
    except InputError:
        raise
    except ValueError as error:  # the class itself refused a combination of values
        raise InputError(str(error)) from error


def logged_recipe(folder: Path) -> dict[str, Any]:
    """The recipe of a model that `save_run` wrote, see [`Run.recipe`]."""
    log = json.loads((folder / TRAINING_LOG).read_text(encoding="utf-8"))
    fields = {field.name: log[field.name] for field in dataclasses.fields(Run)}
    return Run(**fields).recipe()


def load_rows(
    dataset: str, configuration: str, split: str, image_root: str | None = None, on_bad_row: str = "stop"
) -> "Dataset":
    """The rows of one split of a dataset, their pictures left encoded until they are needed.

    Args:
        dataset (`str`): Folder or Hub id of rows, or a published `.jsonl` file, which is all of any split.
        configuration (`str`): A name that the dataset's card gives; of a file `"dift"` or `"grpo"`.
        split (`str`): `"train"` or `"test"`.
        image_root (`str`, *optional*): What relative file names in a file start from.
        on_bad_row (`str`, *optional*, defaults to `"stop"`): What a line of a file does that holds no such row.
    """
    from ..modeling.dataset_files import load_split
    from ..trainers.common.images import undecoded

    if dataset.endswith(".jsonl"):
        from ..dataset_builders.sources.published_jsonl import read_published

        if configuration not in ("dift", "grpo"):
            raise InputError(f"{dataset} is a published file, which has no rows for {configuration!r}")
        return read_published(Path(dataset), configuration, Path(image_root) if image_root else None, on_bad_row)
    try:
        rows = load_split(dataset, configuration, split)
    except (FileNotFoundError, ValueError, ConnectionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"cannot read {split} rows for {configuration!r} from {dataset}: {reason}; "
            "make them with `fourdthinker build-data`"
        ) from error
    if len(rows) == 0:
        raise InputError(
            f"{dataset} has no {split} rows for {configuration!r}: make some with `fourdthinker build-data`"
        )
    return undecoded(rows)


def train(trainer: "Trainer", run: Run) -> None:
    """Train, going on from the last checkpoint of the same run if there is one."""
    from transformers import ProgressCallback

    record = run.checkpoints / _RECORD
    if trainer.is_world_process_zero():
        for folder in (run.output.parent, run.checkpoints):
            remove_leftovers(folder)
    last = last_complete_checkpoint(run.checkpoints)
    trainer.add_callback(_mark_complete(trainer.args.save_total_limit))
    trainer.args.save_total_limit = None
    if last:
        check_same_run(record, dataclasses.asdict(run), type(trainer.args))
        if trainer.is_world_process_zero():
            print(f"resuming from {last}", file=sys.stderr)
    if (last or trainer.args.save_strategy != "no") and trainer.is_world_process_zero():
        with atomic_path(record) as temporary:
            temporary.write_text(json.dumps(dataclasses.asdict(run), default=str, indent=1) + "\n", encoding="utf-8")
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except (InputError, KeyboardInterrupt) as error:
        bar = trainer.pop_callback(ProgressCallback)
        if bar and bar.training_bar:
            bar.training_bar.close()  # or the line that ends the run would begin with the bar
        if isinstance(error, KeyboardInterrupt):
            raise
        # One that a loader's process raised comes with its traceback, of which the last line is ours.
        raise InputError(str(error).strip().splitlines()[-1].rpartition("InputError: ")[2]) from error
    finally:
        # Trainer makes the folder whether or not it saves anything. One process removes it: several would collide.
        if trainer.is_world_process_zero() and run.checkpoints.is_dir():
            if {path.name for path in run.checkpoints.iterdir()} <= {record.name}:
                shutil.rmtree(run.checkpoints)


def last_complete_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; torn ones, which an interruption leaves, are removed.

    Every process calls it: the main one removes, and the others look when it has, or some would resume and some not.
    """
    from accelerate import PartialState

    state = PartialState()
    if state.is_main_process:
        for path in folder.glob("checkpoint-*"):
            if path.is_dir() and not _is_complete(path):
                print(f"{path} is not complete and is removed", file=sys.stderr)
                shutil.rmtree(path)
    state.wait_for_everyone()
    complete = filter(_is_complete, folder.glob("checkpoint-*"))
    return max(complete, key=_step, default=None)


def describe_progress(args: argparse.Namespace) -> str | None:
    """What an interrupted run can go on from, or `None`."""
    run = read_run(args)
    last = max(filter(_is_complete, run.checkpoints.glob("checkpoint-*")), key=_step, default=None)
    return None if last is None else f"{last} is complete"


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _is_complete(checkpoint: Path) -> bool:
    return checkpoint.name.removeprefix("checkpoint-").isdecimal() and (checkpoint / _COMPLETE).is_file()


def _mark_complete(keep: int | None) -> "TrainerCallback":
    from accelerate import PartialState
    from transformers import TrainerCallback

    class MarkComplete(TrainerCallback):
        """transformers resumes from a checkpoint that was cut off; ours has a file written last.

        It also removes old ones before that: a kill there would leave none that is whole. So they go afterwards.
        """

        def on_save(self, args, state, control, **kwargs):
            PartialState().wait_for_everyone()
            if not state.is_world_process_zero:
                return
            folder = Path(args.output_dir)
            newest = folder / f"checkpoint-{state.global_step}"
            (newest / _COMPLETE).touch()
            kept = {newest, Path(state.best_model_checkpoint or newest)}
            whole = sorted(filter(_is_complete, folder.glob("checkpoint-*")), key=_step)
            for old in whole[:-keep] if keep else []:
                if old not in kept:
                    (old / _COMPLETE).unlink()  # first, so that what an interruption leaves is not taken for whole
                    shutil.rmtree(old)

    return MarkComplete()


def save_run(trainer: "Trainer", processor: "ProcessorMixin", run: Run) -> None:
    """Write the trained model or adapter, its processor, card, log and plot into the output folder, all or nothing.

    Every process calls it, because the weights may be spread over them.
    """
    from peft import PeftModel

    from ..hub_cards import model_card
    from ..modeling.saving import share_weights_like_config
    from ..trainers.common.training_plot import write_training_plot
    from ..trainers.common.unwrapping import unwrapped

    spread = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if spread else None
    if not trainer.is_world_process_zero():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    history = trainer.state.log_history
    described = dataclasses.asdict(run)
    log = {**described, "log_history": history}
    with atomic_dir(run.output) as folder:
        model.save_pretrained(folder, state_dict=weights)
        if isinstance(model, PeftModel):
            unwrapped(trainer.accelerator, model).save_configuration(folder)
            share_weights_like_config(folder)
        processor.save_pretrained(folder)
        (folder / TRAINING_LOG).write_text(json.dumps(log, default=str, indent=1) + "\n", encoding="utf-8")
        write_training_plot(history, folder / TRAINING_PLOT)
        recipe = run.recipe()
        card = model_card(folder, recipe=recipe, datasets=[run.dataset], base_model=run.model, repo_id=str(run.output))
        (folder / "README.md").write_text(str(card), encoding="utf-8")
