"""Decode by the caller's settings only, ignoring a checkpoint's `generation_config.json`."""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import GenerationConfig, PreTrainedModel


@contextmanager
def without_checkpoint_generation_config(model: PreTrainedModel) -> Iterator[None]:
    """Temporarily clear the model's generation config, except for its end and padding tokens.

    `generate` fills every setting that its caller leaves open from the model's own generation config. A checkpoint's
    repetition penalty, word ban or number of sequences would silently change the answers, and in 4DRL sample from
    another distribution than the one that is scored.

    Args:
        model: The model, without wrappers. It gets its own generation config back in the end.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig(eos_token_id=own.eos_token_id, pad_token_id=own.pad_token_id)
    try:
        yield
    finally:
        model.generation_config = own
