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
from .saved_files import find_repository, note_arguments, publish_trained, write_trainer_card
from .training_plot import TRAINING_PLOT, write_training_plot
from .unwrapping import unwrap_model
from .vision_learning_rate import check_own_optimizer, set_vision_learning_rate


class ReliableTrainerMixin:
    """For trainers of TRL, before them in the list of bases.

    A checkpoint gets a file `complete` when it has been written to its end. `train(resume_from_checkpoint=True)`
    removes those without it and goes on from the newest that has it, or begins where there is none. A run that has
    ended, or stopped with a line, leaves its plot, `training.png`, in `output_dir`, if it logged at two steps.
    """

    _checkpoints_to_keep: int | None = None
    _sets_vision_rate = False

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> TrainOutput:
        """transformers' own; see the class for what resuming does.

        Raises:
            InputError: For what a row, a setting or the loss makes impossible, also where a data loader's process
                raised it; in one line, with the progress bar closed before it.
        """
        folder = Path(self.args.output_dir)
        if self.args.vision_learning_rate is not None:
            plugin = getattr(self.accelerator.state, "deepspeed_plugin", None)
            made_elsewhere = self.optimizer is not None and not self._sets_vision_rate
            check_own_optimizer(made_elsewhere, plugin and plugin.deepspeed_config)
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
            lines = str(error).strip().splitlines()
            if len(lines) == 1:
                raise
            # A loader's process raised it: it comes with its traceback, of which the last line is ours.
            raise InputError(lines[-1].removeprefix(f"{InputError.__module__}.{InputError.__qualname__}: ")) from error
        finally:
            self.args.save_total_limit = self._checkpoints_to_keep
        self._write_plot()
        return output

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Optimizer:
        """transformers' own, with `vision_learning_rate` for the vision tower.

        Raises:
            InputError: For arguments (`optim_args`) that the optimizer does not take, or if it cannot have two
                learning rates.
        """
        made_before = self.optimizer is not None
        with _name_settings("optim, optim_args", self.args.optim):
            optimizer = super().create_optimizer(*args, **kwargs)
        if self.args.vision_learning_rate is not None and not made_before:
            tower = unwrap_model(self.accelerator, self.model).model.visual
            try:
                set_vision_learning_rate(optimizer, tower, self.args.vision_learning_rate)
            except InputError:
                self.optimizer = None  # or the next run would go on with one rate
                raise
            self._sets_vision_rate = True
        return optimizer

    def create_scheduler(self, *args: Any, **kwargs: Any) -> LRScheduler:
        """transformers' own.

        Raises:
            InputError: For arguments (`lr_scheduler_kwargs`) that the schedule does not take.
        """
        with _name_settings("lr_scheduler_type, lr_scheduler_kwargs", self.args.lr_scheduler_type):
            return super().create_scheduler(*args, **kwargs)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """TRL's own, with the vision tower's learning rate beside the language model's, if it has a separate one."""
        if self.args.vision_learning_rate is not None and "learning_rate" in logs and self.args.learning_rate:
            # What is logged is the rate of the step made; the schedule has gone on since. It scales both alike.
            share = logs["learning_rate"] / self.args.learning_rate
            logs["vision_learning_rate"] = share * self.args.vision_learning_rate
        super().log(logs, *args, **kwargs)

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        """Write our card into `output_dir`, once `save_model` has put a model there.

        Args:
            model_name, tags (*optional*): As in TRL; our card has the folder's name, and tags of its own.
            dataset_name (`str`, *optional*): Folder, file or Hub id of the rows.
        """
        if self.is_world_process_zero():
            write_trainer_card(Path(self.args.output_dir), self, dataset_name)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """transformers' own; what is no checkpoint gets our card, unless somebody else's is there."""
        super().save_model(output_dir, _internal_call)
        if not _internal_call and self.is_world_process_zero():
            write_trainer_card(Path(output_dir or self.args.output_dir), self)

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Only name the repository: [`push_to_hub`] creates it, once there is something that may be published."""
        if self.is_world_process_zero():
            self.hub_model_id = find_repository(self)
            self.push_in_progress = None

    def push_to_hub(
        self,
        commit_message: str | None = None,
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **options: Any,
    ) -> Any:
        """Save the model with our card, and publish it by [`~hub_cards.publish_model`] once it has been checked.

        Args:
            commit_message (`str`, *optional*): Title of the commit.
            blocking (`bool`): Publishing waits in any case: it says in the end what is on the Hub.
            token (`str`, *optional*): By default `hub_token`, then that of the environment.
            revision (`str`, *optional*): Not supported: what is published becomes `main`; name it by `tag`.
            private (`bool`, *optional*): Of a new repository; by default `hub_private_repo`, then `True`.
            options: Further ones of `publish_model`, such as `tag`, `check` and `allow`; others, of TRL's card, are
                not used.

        Returns:
            [`~hub_cards.publishing.publish.Published`], or `None` in other processes than the first.

        Raises:
            InputError: If something must not be published, or the Hub does not take it.
        """
        if revision or self.args.hub_revision:
            raise InputError("hub_revision is not supported: what is published becomes main; name it by a tag")
        self.save_model(_internal_call=True)  # which would publish otherwise
        self.create_model_card(dataset_name=options.get("dataset_name"))
        if not self.is_world_process_zero():
            return None
        known = {name: options[name] for name in ("tag", "check", "allow", "max_size", "report") if name in options}
        if commit_message:
            known["message"] = commit_message
        return publish_trained(self, token, private, **known)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Publish nothing in the midst of training: it would send checkpoints in pieces, unchecked."""

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """transformers' own.

        Raises:
            InputError: If the optimizer of the checkpoint's run held other parameters, or in other groups.
        """
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except ValueError as error:
            if "parameter group" not in str(error):
                raise
            raise InputError(
                f"{checkpoint} is of a run that trained other weights, or with another vision_learning_rate, or none: "
                "set it as it was, or give another output_dir"
            ) from error

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
        """transformers' own, with a note in the place of its pickled settings, which resuming does not read.

        An adapter gets the configuration, where training has written, and the code beside it.
        """
        folder = Path(output_dir or self.args.output_dir)
        with _keep_card(folder):
            super()._save(output_dir, state_dict)
        if self.args.should_save:  # every process comes here where weights are sharded
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
            note_arguments(folder, self.args)
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
