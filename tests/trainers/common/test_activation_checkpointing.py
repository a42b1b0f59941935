"""Both names of activation checkpointing, with every version of transformers and without a warning."""

import dataclasses
import warnings

import pytest

from fourdthinker.trainers import DIFTConfig, LatentGRPOConfig

CASES = [
    ({}, None),
    ({"activation_checkpointing": True}, True),
    ({"activation_checkpointing": False}, False),
    ({"gradient_checkpointing": True}, True),
    ({"gradient_checkpointing": False}, False),
    ({"activation_checkpointing": False, "gradient_checkpointing": True}, False),
]


@pytest.mark.parametrize(("config_class", "default"), [(DIFTConfig, False), (LatentGRPOConfig, True)])
@pytest.mark.parametrize(("settings", "expected"), CASES, ids=str)
def test_either_name_sets_both_without_a_warning(tmp_path, config_class, default, settings, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        config = config_class(str(tmp_path), use_cpu=True, bf16=False, report_to="none", **settings)
        derived = {"generation_batch_size": None} if config_class is LatentGRPOConfig else {}
        copy = dataclasses.replace(config, activation_checkpointing=not config.activation_checkpointing, **derived)
    expected = default if expected is None else expected
    assert (config.activation_checkpointing, config.gradient_checkpointing) == (expected, expected)
    assert (copy.activation_checkpointing, copy.gradient_checkpointing) == (not expected, not expected)


def test_arguments_of_either_name_are_read(tmp_path):
    for name in ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs"):
        config = DIFTConfig(
            str(tmp_path), use_cpu=True, bf16=False, report_to="none", **{name: {"use_reentrant": False}}
        )
        assert (
            config.activation_checkpointing_kwargs == config.gradient_checkpointing_kwargs == {"use_reentrant": False}
        )
