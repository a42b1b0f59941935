"""Stop training on a NaN or infinite loss, before the optimizer step."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import Trainer

from ...modeling.atomic import atomic_path
from ...modeling.errors import InputError


def check_finite_loss(trainer: Trainer, loss: torch.Tensor, ids: Sequence[str]) -> None:
    """Stop the run if the loss of a batch is NaN or infinite, before the optimizer's step.

    Args:
        trainer (`Trainer`): Whose step it is.
        loss (`torch.Tensor` of shape `()`): The loss of a batch.
        ids (`Sequence[str]`): The ids of its rows.

    Raises:
        InputError: If it is NaN or infinite. A file in the folder of the checkpoints then holds the ids.
    """
    if not torch.isfinite(loss):
        raise InputError(
            f"the loss of step {trainer.state.global_step + 1} is {float(loss)}: the ids of its rows are in "
            f"{_write_ids(trainer, str(float(loss)), ids)}; look at them, or lower the learning rate"
        )


def make_sampling_error(trainer: Trainer, ids: Sequence[str]) -> InputError:
    """Make the same error for a rollout that cannot be sampled, because the log-probs are NaN or infinite."""
    return InputError(
        f"the policy's log-probs are NaN or infinite in the rollout of step {trainer.state.global_step + 1}: the ids "
        f"of its rows are in {_write_ids(trainer, 'no log-probs', ids)}; go on from a checkpoint before that, with a "
        "lower learning rate"
    )


def _write_ids(trainer: Trainer, loss: str, ids: Sequence[str]) -> Path:
    step = trainer.state.global_step + 1
    file = Path(trainer.args.output_dir) / f"loss-{step}-{trainer.args.process_index}.json"
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps({"step": step, "loss": loss, "ids": list(ids)}) + "\n", encoding="utf-8")
    return file
