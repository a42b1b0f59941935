"""Divide the loss of a step by its micro-batches exactly once."""

from accelerate import Accelerator


def divide_loss_once(accelerator: Accelerator) -> None:
    """Leave the division by the gradient accumulation steps to the trainer.

    TRL's trainers and transformers' do it as their loss needs. Older versions of transformers tell accelerate the
    number of steps as well, which then divides once more in `backward`: gradients would depend on how a step is cut.
    """
    accelerator.gradient_accumulation_steps = 1
