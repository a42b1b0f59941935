"""Replace the model's latents in an evaluation: the model's own, zeros, or shuffled values."""

from collections.abc import Callable

from ..modeling.errors import InputError

LATENTS = ("own", "zero", "shuffled")


def latent_transform(latents: str) -> Callable | None:
    """The transform that `generate` applies to each state `(batch, 1, hidden)` before it is fed back.

    Where a score does not move under `"zero"` or `"shuffled"`, the answers do not depend on what the latents hold.

    Args:
        latents (`str`): `"own"` (no change), `"zero"`, or `"shuffled"`: the values of each state in one fixed random
            order, so that norm and statistics stay and the content goes. No row sees another one, so the result does
            not depend on how rows are batched.
    """
    if latents not in LATENTS:
        raise InputError(f"unknown latents {latents!r}: choose one of {', '.join(LATENTS)}")
    return {"own": None, "zero": _zero, "shuffled": _shuffle}[latents]


def _zero(states):
    return states * 0


def _shuffle(states):
    import torch  # here, so that this package imports without torch

    order = torch.randperm(states.shape[-1], generator=torch.Generator().manual_seed(0))
    return states[..., order.to(states.device)]
