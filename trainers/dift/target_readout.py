"""Linear read-out between hidden states and standardised imagery targets, for training alone.

The published loss asks a state to be the target itself, which the same state then has to serve as input. With a
read-out it only has to hold the target: what is compared is a linear function of the state. The read-out is no part of
the saved model; checkpoints keep it for resuming.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel

from ...modeling.atomic import atomic_path
from ...modeling.errors import InputError

READOUT_FILE = "target_readout.safetensors"
_NAME = "target_readout"


class TargetReadout(nn.Module):
    """Linear read-out of states, and the statistics that standardise targets.

    Standardised targets have mean 0 and standard deviation 1 in each of their dimensions, over images and latents:
    what all targets share, which a constant state would match, is gone.

    Args:
        targets (`Iterable[torch.Tensor]`): Targets `(..., hidden)` to measure.

    Raises:
        InputError: If there are fewer than two.
    """

    def __init__(self, targets: Iterable[torch.Tensor]):
        super().__init__()
        parts = [part.flatten(0, -2) for part in targets]
        measured = torch.cat(parts).double() if parts else torch.zeros(0, 1)
        if len(measured) < 2:
            raise InputError("target_readout standardises imagery targets, and the rows have none: set it to false")
        deviation, mean = torch.std_mean(measured, dim=0)
        # A dimension that hardly varies holds nothing to be learned; its noise must not be blown up.
        deviation = deviation.clamp(min=1e-3 * deviation.max().item() or 1.0)
        self.register_buffer("mean", mean.float())
        self.register_buffer("deviation", deviation.float())
        # Not an `nn.Linear`, which an adapter of all linear layers would reach. No random number is drawn.
        self.weight = nn.Parameter(torch.eye(len(mean), device=mean.device))
        self.bias = nn.Parameter(torch.zeros(len(mean), device=mean.device))

    def forward(self, states: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the states say and what they should, both `(..., hidden)` in float32."""
        with torch.autocast(states.device.type, enabled=False):
            predicted = functional.linear(states.float(), self.weight, self.bias)
            return predicted, (targets.float() - self.mean) / self.deviation


def attach_readout(model: PreTrainedModel, readout: TargetReadout) -> None:
    """Make a read-out part of a model's loss and of its trained weights, and of nothing that it saves."""
    readout.to(model.device).requires_grad_(True)
    setattr(model, _NAME, readout)
    unsaved = {f"{_NAME}.{name}" for name in readout.state_dict()}
    model._keys_to_ignore_on_save = [*(model._keys_to_ignore_on_save or ()), *sorted(unsaved)]


def detach_readout(model: PreTrainedModel) -> None:
    """Take away the read-out of an earlier training, if a model has one."""
    if hasattr(model, _NAME):
        delattr(model, _NAME)


def save_readout(model: PreTrainedModel, checkpoint: Path) -> None:
    """Write a model's read-out, if it has one, beside the optimizer's state in a checkpoint."""
    readout = getattr(model, _NAME, None)
    if readout is None:
        return
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in readout.state_dict().items()}
    with atomic_path(checkpoint / READOUT_FILE) as temporary:
        save_file(tensors, temporary)


def load_readout(model: PreTrainedModel, checkpoint: Path) -> None:
    """Load a model's read-out, if it has one, from a checkpoint.

    Raises:
        InputError: If the checkpoint has none that fits.
    """
    readout = getattr(model, _NAME, None)
    if readout is None:
        return
    file = checkpoint / READOUT_FILE
    try:
        readout.load_state_dict(load_file(file))
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{file} is absent or of another model, so that training cannot go on with target_readout: resume from a "
            "checkpoint that was saved with it"
        ) from error
