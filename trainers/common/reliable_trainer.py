"""Trainer mixin that protects a run: complete checkpoints, one-line stops, and the training plot."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from transformers import ProgressCallback
from transformers.trainer import TRAINING_ARGS_NAME
from transformers.trainer_utils import TrainOutput

from ...modeling.atomic import remove_leftovers
from ...modeling.errors import InputError, first_line
from ...modeling.saving import share_weights_like_config
from .checkpoints import COMPLETE, find_checkpoint, mark_complete
from .training_plot import TRAINING_PLOT, write_training_plot
from .unwrapping import unwrap_model


class ReliableTrainerMixin:
    """For trainers of TRL, before them in the list of bases.

    A checkpoint gets a file `complete` when it has been written to its end. `train(resume_from_checkpoint=True)`
    removes those without it and goes on from the newest that has it, or begins where there is none. A run that has
    ended, or stopped with a line, leaves its plot, `training.png`, in `output_dir`.
    """

    _checkpoints_to_keep: int | None = None

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """transformers' own; see the class for what resuming does.

        Raises:
            InputError: For what a row, a setting or the loss makes impossible, also where a data loader's process
                raised it; in one line, with the progress bar closed before it.
        """
        folder = Path(self.args.output_dir)
        if self.is_world_process_zero():
            remove_leftovers(folder)
        checkpoint = find_checkpoint(folder, resume_from_checkpoint)
        # Old checkpoints go once the new one is marked: transformers removes them before, and in the end even the
        # newest where another is the best.
        self._checkpoints_to_keep, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            output = super().train(checkpoint, *args, **kwargs)
        except KeyboardInterrupt:
            self._close_progress_bar()
            raise
        except InputError as error:
            self._close_progress_bar()
            self._write_plot()
            # One that a loader's process raised comes with its traceback, of which the last line is ours.
            raise InputError(str(error).strip().splitlines()[-1].rpartition("InputError: ")[2]) from error
        finally:
            self.args.save_total_limit = self._checkpoints_to_keep
        self._write_plot()
        return output

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Optimizer:
        """transformers' own.

        Raises:
            InputError: For arguments (`optim_args`) that the optimizer does not take.
        """
        with _name_settings("optim, optim_args", self.args.optim):
            return super().create_optimizer(*args, **kwargs)

    def create_scheduler(self, *args: Any, **kwargs: Any) -> LRScheduler:
        """transformers' own.

        Raises:
            InputError: For arguments (`lr_scheduler_kwargs`) that the schedule does not take.
        """
        with _name_settings("lr_scheduler_type, lr_scheduler_kwargs", self.args.lr_scheduler_type):
            return super().create_scheduler(*args, **kwargs)

    def create_model_card(self, *args, **kwargs) -> None:
        """Do nothing: TRL's card would replace ours, which the commands write."""

    def _close_progress_bar(self) -> None:
        bar = self.pop_callback(ProgressCallback)
        if bar and bar.training_bar:
            bar.training_bar.close()

    def _write_plot(self) -> None:
        folder = Path(self.args.output_dir)
        if self.is_world_process_zero() and folder.is_dir():
            write_training_plot(self.state.log_history, folder / TRAINING_PLOT)

    def _save_checkpoint(self, model, trial) -> None:
        """transformers' own, marked when it has been written, after which old checkpoints go."""
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        if self.is_world_process_zero():
            (checkpoint / COMPLETE).unlink(missing_ok=True)  # of an earlier run: this one may be cut off
        super()._save_checkpoint(model, trial)
        PartialState().wait_for_everyone()
        if self.is_world_process_zero() and checkpoint.is_dir():
            mark_complete(checkpoint, self._checkpoints_to_keep, self.state.best_model_checkpoint)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """transformers' own, without its pickled settings, which resuming does not read.

        An adapter gets the configuration, where training has written, and the code beside it.
        """
        folder = Path(output_dir or self.args.output_dir)
        with _keep_card(folder):
            super()._save(output_dir, state_dict)
        if self.args.should_save:  # every process comes here where weights are sharded
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
            if (folder / "adapter_config.json").is_file():
                unwrap_model(self.accelerator, self.model).save_configuration(folder)
                share_weights_like_config(folder)


@contextmanager
def _name_settings(names: str, value: Any) -> Iterator[None]:
    """Name the settings that an optimizer or schedule rejects as it is built."""
    try:
        yield
    except (TypeError, ValueError) as error:
        reason = first_line(error)
        raise InputError(f"{names}: {getattr(value, 'value', value)} cannot be made with them: {reason}") from error


@contextmanager
def _keep_card(folder: Path) -> Iterator[None]:
    """Keep a folder's `README.md` as it is, or absent, while PEFT saves an adapter, for which it writes one."""
    card = folder / "README.md"
    before = card.read_bytes() if card.is_file() else None
    yield
    if before is not None:
        card.write_bytes(before)
    else:
        card.unlink(missing_ok=True)
