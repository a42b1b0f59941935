"""Encoded prompts with tokens of a response behind them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Inputs of a prompt that the longer sequence has its own of.
_OF_LENGTH = ("input_ids", "attention_mask", "position_ids", "mm_token_type_ids")


def extend_prompts(
    model, inputs: Mapping[str, Any], tokens: Sequence[Sequence[int]], latents: "Sequence[torch.Tensor]"
) -> dict[str, Any]:
    """Put tokens behind prompts, with what is fed at their latent pads.

    Args:
        model: The model.
        inputs (`Mapping`): The encoded prompts, on the model's device.
        tokens (`Sequence[Sequence[int]]`): For each prompt the token ids that follow it.
        latents (`Sequence[torch.Tensor]`): For each prompt at least as many vectors as it then has latent pads,
            `(latents, hidden)`; further ones are left out.

    Returns:
        `dict`: The inputs of the longer rows, padded on the left, so that all end in the last column; with
            `latent_embeds` if there are pads.
    """
    import torch

    prompts = [ids[seen.bool()] for ids, seen in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
    rows = [torch.cat([one, one.new_tensor(list(after))]) for one, after in zip(prompts, tokens, strict=True)]
    longest = max(map(len, rows))
    ids = torch.full((len(rows), longest), model.config.get_text_config().pad_token_id or 0).to(rows[0])
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, longest - len(row) :], mask[place, longest - len(row) :] = row, 1
    pads = (ids == model.config.latent_token_id).sum(1).tolist()
    fed = torch.cat([own[:count] for own, count in zip(latents, pads, strict=True)])
    context = {name: value for name, value in inputs.items() if name not in _OF_LENGTH}
    context |= {"latent_embeds": fed.to(ids.device)} if len(fed) else {}
    return {**context, "input_ids": ids, "attention_mask": mask}
