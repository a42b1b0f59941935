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
    for name in ("ce_loss_weight", "sim_loss_weight", "alignment_loss_weight"):
        if getattr(settings, name) < 0:
            raise InputError(f"{name} is {getattr(settings, name)!r}: give a number of 0 or more")
    if settings.teacher_forcing and settings.self_feeding == "none":
        raise InputError(
            "teacher_forcing is a part of self-feeding: set self_feeding to parallel, sequential or exact"
        )
    if settings.self_feed_gradient and settings.self_feeding == "exact":
        raise InputError("self_feeding exact has the whole gradient: leave self_feed_gradient at 0")
    if settings.answer_sees == "latents" and settings.drop_imagery:
        raise InputError("answer_sees is latents, and drop_imagery leaves no latents to see: set one of them")
    if settings.answer_sees == "all" and settings.answer_blinding:
        raise InputError("answer_blinding is a setting of answers that see latents: set answer_sees to latents")
    for name in ("teacher_forcing", "teacher_forcing_until", "answer_blinding", "answer_blinding_until"):
        if not 0 <= getattr(settings, name) <= 1:
            raise InputError(f"{name} is {getattr(settings, name)}: give a share between 0 and 1")
    _check_target_rules(settings)
    if settings.max_length is not None:
        raise InputError("truncating rows would cut latent blocks: leave max_length unset")
    if settings.packing or settings.padding_free:
        raise InputError("packing and padding_free are for rows of text: set pack_rows instead")


def check_mask_rules(settings: Any) -> None:
    """See that the attention takes the mask of answers that see latents alone.

    A model that is loaded already is checked by `modeling.answer_mask.check_answer_settings`.

    Args:
        settings: An object with the fields of [`DIFTConfig`] and [`ModelSettings`] as attributes.

    Raises:
        InputError: If it does not.
    """
    attention = settings.attn_implementation
    if settings.answer_sees == "latents" and attention not in (None, "sdpa", "eager"):
        raise InputError(
            f"answer_sees: latents needs attn_implementation sdpa or eager, not {attention}: set one of them"
        )


def _check_target_rules(settings: Any) -> None:
    """Check the settings of what states are compared with."""
    if settings.target_readout or settings.alignment_loss_weight:
        name = "target_readout" if settings.target_readout else "alignment_loss_weight"
        if settings.drop_imagery:
            raise InputError(f"{name} needs the imagery that drop_imagery leaves out: set one of them back")
        if settings.self_feeding == "none":
            raise InputError(f"{name} is for rows that feed on their own latents: set self_feeding, such as to exact")
    if settings.target_readout and settings.alignment_loss_weight:
        raise InputError(
            "target_readout leaves states free of the targets' space, so that alignment's teacher cannot be fed "
            "targets: set one of target_readout and alignment_loss_weight"
        )
    if settings.target_readout and settings.teacher_forcing:
        raise InputError(
            "target_readout leaves states free of the targets' space, so that blocks cannot be fed targets: set "
            "teacher_forcing to 0"
        )
    if settings.precompute_videos and not settings.freeze_vision:
        raise InputError(
            "precompute_videos keeps features that training the vision tower changes: set freeze_vision to true, or "
            "precompute_videos to false"
        )
