"""Run training from its first start to a complete model folder, resuming after interruptions."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import PeftModel
from transformers import TrainerCallback

from ...modeling.atomic import atomic_dir, atomic_path, remove_leftovers
from ...modeling.file_names import TRAINING_LOG
from ...modeling.saving import share_weights_like_config
from .checkpoints import last_complete_checkpoint, remove_torn_checkpoints
from .resuming import ResolveSettings, check_same_run
from .saved_files import note_arguments
from .training_plot import TRAINING_PLOT, write_training_plot
from .unwrapping import unwrap_model

if TYPE_CHECKING:
    from transformers import Trainer

RUN_RECORD = "run.json"  # beside the checkpoints: whose they are


def check_checkpoints(checkpoints: Path, run: Mapping[str, Any], resolve_settings: ResolveSettings) -> None:
    """Check that complete checkpoints in a folder are of this run, before rows and models are read for it.

    Args:
        checkpoints (`Path`): The `output_dir` of its trainer.
        run (`Mapping[str, Any]`): What the run is: where it reads, and its settings; see [`check_same_run`].
        resolve_settings (`Callable`): Gives all fields of the settings in a record.

    Raises:
        InputError: If they are of another run.
    """
    if last_complete_checkpoint(checkpoints):
        check_same_run(checkpoints / RUN_RECORD, run, resolve_settings)


def train_or_resume(trainer: "Trainer", run: Mapping[str, Any]) -> None:
    """Train, going on from the last complete checkpoint if there is one; see [`check_checkpoints`] for whose it is.

    Args:
        trainer ([`~transformers.Trainer`]): Its `output_dir` holds the checkpoints; it is removed in the end if it
            holds none.
        run (`Mapping[str, Any]`): What is kept beside the checkpoints, see [`check_checkpoints`].

    Raises:
        InputError: If training cannot go on.
    """
    checkpoints = Path(trainer.args.output_dir)
    record = checkpoints / RUN_RECORD
    if trainer.is_world_process_zero():
        for folder in (checkpoints.parent, checkpoints):
            remove_leftovers(folder)
    remove_torn_checkpoints(checkpoints)
    last = last_complete_checkpoint(checkpoints)
    if last and trainer.is_world_process_zero():
        print(f"resuming from {last}", file=sys.stderr)
    if (last or trainer.args.save_strategy != "no") and trainer.is_world_process_zero():
        with atomic_path(record) as temporary:
            temporary.write_text(json.dumps(dict(run), default=str, indent=1) + "\n", encoding="utf-8")
    trainer.add_callback(_StopFinishedRun())
    try:
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except _FinishedError:
        if trainer.state.best_model_checkpoint and trainer.args.load_best_model_at_end:
            trainer._load_best_model()
        trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
    finally:
        # Trainer makes the folder whether or not it saves anything. One process removes it: several would collide.
        if trainer.is_world_process_zero() and checkpoints.is_dir():
            if {path.name for path in checkpoints.iterdir()} <= {RUN_RECORD, TRAINING_PLOT}:
                shutil.rmtree(checkpoints)


class _FinishedError(Exception):
    """A resumed run has no step left."""


class _StopFinishedRun(TrainerCallback):
    """Trainer looks at `max_steps` only after a step, so a checkpoint of the last step would get one step more."""

    def on_epoch_begin(self, args, state, control, **kwargs):
        if state.global_step >= state.max_steps:
            raise _FinishedError


def save_run(
    trainer: "Trainer", output: Path, run: Mapping[str, Any], card: Callable[[Path], str] | None = None
) -> None:
    """Write the trained model or adapter with its processor, log, plot and card into a folder, all or nothing.

    Every process calls it, because the weights may be spread over them.

    Args:
        trainer ([`~transformers.Trainer`]): One that has trained.
        output (`Path`): The folder; one that exists is replaced.
        run (`Mapping[str, Any]`): What the log says of the run beside its history.
        card (`Callable[[Path], str]`, *optional*): Gives the text of `README.md` for the folder that holds the rest.
    """
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped) if sharded else None
    if not trainer.is_world_process_zero():
        return
    model = trainer.accelerator.unwrap_model(trainer.model)
    history = trainer.state.log_history
    # Where the run was on this machine stays out of a folder that may be published.
    log = {**{name: _last_name(value) for name, value in run.items()}, "log_history": history}
    with atomic_dir(output) as folder:
        model.save_pretrained(folder, state_dict=weights)
        if isinstance(model, PeftModel):
            unwrap_model(trainer.accelerator, model).save_configuration(folder)
            share_weights_like_config(folder)
        trainer.processing_class.save_pretrained(folder)
        note_arguments(folder, trainer.args)
        (folder / TRAINING_LOG).write_text(json.dumps(log, default=str, indent=1) + "\n", encoding="utf-8")
        write_training_plot(history, folder / TRAINING_PLOT)
        if card is not None:
            (folder / "README.md").write_text(card(folder), encoding="utf-8")


def _last_name(value: Any) -> Any:
    """The last name of an absolute path; any other value as it is."""
    if isinstance(value, Mapping):
        return {name: _last_name(one) for name, one in value.items()}
    is_path = isinstance(value, (str, Path)) and Path(value).is_absolute()
    return Path(value).name if is_path else value
