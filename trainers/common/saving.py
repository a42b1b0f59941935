"""Save checkpoints that hold nothing pickled of the settings and no card but ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.trainer import TRAINING_ARGS_NAME

from ...modeling.saving import share_weights_like_config
from .unwrapping import unwrap_model


class SavingTrainerMixin:
    """For trainers of TRL: what they write into a checkpoint or by `save_model`."""

    def create_model_card(self, *args, **kwargs) -> None:
        """Nothing: TRL's card would replace ours, which the commands write."""

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """transformers' own, without its pickled settings, which resuming does not read.

        An adapter gets the configuration, where training has written, and the code beside it.
        """
        folder = Path(output_dir or self.args.output_dir)
        with _kept_card(folder):
            super()._save(output_dir, state_dict)
        if self.args.should_save:  # every process comes here where weights are sharded
            (folder / TRAINING_ARGS_NAME).unlink(missing_ok=True)
            if (folder / "adapter_config.json").is_file():
                unwrap_model(self.accelerator, self.model).save_configuration(folder)
                share_weights_like_config(folder)


@contextmanager
def _kept_card(folder: Path) -> Iterator[None]:
    """Keep a folder's `README.md` as it is, or absent, while PEFT saves an adapter, for which it writes one."""
    card = folder / "README.md"
    before = card.read_bytes() if card.is_file() else None
    yield
    if before is not None:
        card.write_bytes(before)
    else:
        card.unlink(missing_ok=True)
