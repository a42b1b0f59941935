"""Check that settings of DIFT go together, without importing torch, so that a command reports it at once."""

from typing import Any

from ...modeling.errors import InputError


def check_dift_rules(settings: Any) -> None:
    """Check the values of DIFT's own settings, each and together.

    Args:
        settings: An object with the fields of [`DIFTConfig`] as attributes, such as one of its instances.

    Raises:
        InputError: For the first that does not fit.
    """
    for name, least in (("self_feed_passes", 1), ("self_feed_gradient", 0), ("eval_generations", 0)):
        if getattr(settings, name) < least:
            raise InputError(f"{name} is {getattr(settings, name)}: give {least} or more")
    for name in ("ce_loss_weight", "sim_loss_weight"):
        if getattr(settings, name) < 0:
            raise InputError(f"{name} is {getattr(settings, name)!r}: give a number of 0 or more")
    if settings.teacher_forcing and settings.self_feeding == "none":
        raise InputError("teacher_forcing is a part of self-feeding: set self_feeding to parallel or sequential")
    for name in ("teacher_forcing", "teacher_forcing_until"):
        if not 0 <= getattr(settings, name) <= 1:
            raise InputError(f"{name} is {getattr(settings, name)}: give a share between 0 and 1")
    if settings.pack_rows and settings.self_feeding == "sequential":
        raise InputError("pack_rows with sequential self-feeding would take a pass for every latent: use parallel")
    if settings.max_length is not None:
        raise InputError("truncating rows would cut latent blocks: leave max_length unset")
    if settings.packing or settings.padding_free:
        raise InputError("packing and padding_free are for rows of text: set pack_rows instead")
