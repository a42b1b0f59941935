"""Choose the device of a command."""

from ..modeling.errors import InputError, first_line


def choose_device(name: str | None) -> str:
    """The device that `--device` names, or the first GPU, or the CPU.

    Raises:
        InputError: If this machine has no such device.
    """
    import torch

    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise InputError(f"--device {name} cannot be used here ({reason}): leave it out, or say cpu") from error
    if torch.device(name).type == "meta":
        raise InputError("--device meta holds no values and cannot answer: leave it out, or say cpu")
    return name
