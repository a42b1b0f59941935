"""Sample reasoning paths from a model, without latents."""

from collections.abc import Mapping, Sequence

import torch
from transformers import GenerationConfig, PreTrainedModel, ProcessorMixin

from ...modeling.generation_settings import without_checkpoint_generation_config
from ...modeling.processing import decode_response
from ..grpo.rollout import encode_prompts
from ..grpo.sampling import sampling_config


def sample_paths(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    rows: Sequence[Mapping],
    paths: int,
    temperature: float = 1.0,
    max_new_tokens: int = 1024,
    seed: int = 0,
) -> list[list[str]]:
    """Sample responses to a batch of rows, of text alone: training would have no targets for their latents.

    Args:
        model: A model with latents, on its device.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Rows with `question`, `options`, `frames` and `timestamps`.
        paths (`int`): How many for each row.
        temperature (`float`, *optional*, defaults to 1.0): Of the whole distribution, nothing of it cut off.
        max_new_tokens (`int`, *optional*, defaults to 1024): Longest response.
        seed (`int`, *optional*, defaults to 0): The same gives the same responses for the same batch.

    Returns:
        `list[list[str]]`: For each row its responses.
    """
    settings = GenerationConfig(
        do_sample=True,
        temperature=temperature,
        top_p=1.0,
        top_k=0,
        max_new_tokens=max_new_tokens,
        num_return_sequences=paths,
    )
    inputs = encode_prompts(processor, rows).to(model.device)
    torch.manual_seed(seed)
    with without_checkpoint_generation_config(model), torch.no_grad():
        output = model.generate(**inputs, generation_config=sampling_config(settings, model, latents=False))
    texts = [decode_response(processor, ids) for ids in output.sequences[:, inputs["input_ids"].shape[1] :]]
    return [texts[start : start + paths] for start in range(0, len(texts), paths)]
