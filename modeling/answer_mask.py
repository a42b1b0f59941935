"""The answer bottleneck: text after a latent block that does not see the video, by one attention mask.

With `answer_sees="latents"` in the configuration, every text token that follows a closed latent block of a response
sees the latents, the text since that block opened the answer, and, with `answer_sees_question`, the question; nothing
else. What that text knows of the video went through the latents. Latent blocks themselves see everything, and so does
the answer of a response without any.

The rule reads token ids alone. Each token has a role, and a table says which roles see which, so that padded rows,
packed rows, completions behind a shared prompt, and rows in a cache have one mask:

- `VISION`: in a prompt, from the first to the last visual token of a turn, with the times between frames.
- `QUESTION`: the rest of a prompt. Where the answer sees it, it does not see `VISION` itself: its deeper states would
  carry the video to the answer.
- `FREE`: the response up to its first closed block, and the tokens that open a block. Sees all; the answer does not
  see it.
- `LATENT`: latent pads of the response. See all.
- `ANSWER`: text of the response after a closed block, the block's end token included.
- `PADDING`: seen by nobody.
"""

import torch

from .errors import InputError

PADDING, FREE, VISION, QUESTION, LATENT, ANSWER = range(6)
_MASKED_ATTENTION = ("sdpa", "eager")


def takes_any_mask(config) -> bool:
    """Whether the attention of a model with this configuration takes a mask of any pattern."""
    text = config.get_text_config()
    sliding = "sliding_attention" in (getattr(text, "layer_types", None) or ())
    return text._attn_implementation in _MASKED_ATTENTION and not sliding


def check_answer_settings(config) -> None:
    """Check that a model can follow `answer_sees="latents"`.

    Raises:
        InputError: If its attention takes no such mask, or the configuration does not know what begins a turn.
    """
    if not takes_any_mask(config):
        raise InputError(
            'answer_sees is "latents", whose mask needs full attention by "sdpa" or "eager", not '
            f"{config.get_text_config()._attn_implementation!r}: load the model with one of them as "
            "attn_implementation"
        )
    if config.turn_token_id is None:
        raise InputError(
            'answer_sees is "latents" but turn_token_id is not set: set it to the id of the token that begins a turn, '
            "<|im_start|>, as DIFTTrainer does"
        )


def token_roles(ids: torch.LongTensor, config, mask: torch.Tensor | None = None) -> torch.LongTensor:
    """Role of each token of whole rows: prompts, or prompts with responses.

    Args:
        ids (`torch.LongTensor` of shape `(batch, length)`): Token ids. The response is the last turn of each row.
        config: The model's configuration.
        mask (`torch.Tensor` of shape `(batch, length)`, *optional*): 0 at padding.

    Returns:
        `torch.LongTensor` of shape `(batch, length)`.
    """
    valid = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
    turns = ((ids == config.turn_token_id) & valid).cumsum(1)
    responding = turns == turns.amax(1, keepdim=True)
    visual = ((ids == config.image_token_id) | (ids == config.video_token_id)) & valid
    count = visual.cumsum(1)
    # Visual tokens up to the end of each turn.
    ends = count.new_zeros(len(ids), ids.shape[1] + 2).scatter_reduce(1, turns + 1, count, "amax")
    between = (count > ends.gather(1, turns)) & (count < ends.gather(1, turns + 1))
    pads = ids == config.latent_token_id
    prompt = torch.where(visual | between | pads, VISION, QUESTION)
    closed = ((ids == config.latent_end_token_id) & responding & valid).cumsum(1) > 0
    roles = torch.where(responding, response_roles(ids, config, closed), prompt)
    return roles.masked_fill(~valid, PADDING)


def response_roles(ids: torch.LongTensor, config, closed: torch.BoolTensor) -> torch.LongTensor:
    """Roles of tokens in a response; `closed` says whether a block has ended before or at each."""
    text = torch.where(closed & (ids != config.latent_start_token_id), ANSWER, FREE)
    return torch.where(ids == config.latent_token_id, LATENT, text)


def unblind(roles: torch.LongTensor, rows: torch.BoolTensor) -> torch.LongTensor:
    """Roles of rows `(batch,)` whose answers see everything; the roles of the other rows are as they were."""
    return roles.masked_fill(rows[:, None] & (roles != PADDING), FREE)


def visible_roles(question: bool, device: torch.device | None = None) -> torch.BoolTensor:
    """Which roles see which, `(roles, roles)`, queries first.

    Args:
        question (`bool`): Whether answers see the question.
        device (`torch.device`, *optional*): Where.
    """
    seen = torch.ones(6, 6, dtype=torch.bool, device=device)
    seen[ANSWER, [FREE, VISION]] = False
    if question:
        seen[QUESTION] = False
        seen[QUESTION, QUESTION] = True
    else:
        seen[ANSWER, QUESTION] = False
    seen[PADDING] = seen[:, PADDING] = False
    return seen


def answer_attention(
    roles: torch.LongTensor, queries: int, question: bool, allowed: torch.BoolTensor | None = None
) -> torch.BoolTensor:
    """Who sees whom, by roles.

    Args:
        roles (`torch.LongTensor` of shape `(batch, keys)`): Roles of all columns, cached ones included.
        queries (`int`): How many of the last columns ask.
        question (`bool`): Whether answers see the question.
        allowed (`torch.BoolTensor` of shape `(batch, 1, queries, keys)`, *optional*): What else limits it; by default
            each token sees those up to itself.

    Returns:
        `torch.BoolTensor` of shape `(batch, 1, queries, keys)`. Every token sees itself.
    """
    keys, offset = roles.shape[1], roles.shape[1] - queries
    by_role = visible_roles(question, roles.device)[:, roles].transpose(0, 1)
    rows = torch.arange(len(roles), device=roles.device)[:, None]
    seen = by_role[rows, roles[:, offset:]][:, None]
    if allowed is not None:
        seen &= allowed
    elif queries > 1:
        seen &= torch.ones(queries, keys, dtype=torch.bool, device=roles.device).tril(offset)
    seen.diagonal(offset, -2, -1).fill_(True)
    return seen


def packed_rows(positions: torch.LongTensor) -> torch.BoolTensor | None:
    """Causal mask `(batch, 1, length, length)` of rows that are packed into one; None if there is one row alone.

    Args:
        positions (`torch.LongTensor` of shape `(batch, length)`): Counted positions, which start again with each row.
    """
    starts = torch.ones_like(positions, dtype=torch.bool)
    starts[:, 1:] = positions.diff() != 1
    if not bool(starts[:, 1:].any()):
        return None
    numbers = starts.cumsum(1)
    return (numbers[:, :, None] == numbers[:, None, :]).tril()[:, None]


def mask_answers(
    config,
    length: int,
    input_ids: torch.LongTensor | None = None,
    attention_mask: torch.Tensor | None = None,
    position_ids: torch.LongTensor | None = None,
    cached: int = 0,
    roles: torch.LongTensor | None = None,
) -> torch.Tensor | None:
    """The attention mask of a forward pass, `(batch, 1, length, cached + length)`, with `answer_sees="latents"`.

    It is `attention_mask` itself where the pass computes no token that anything is hidden from.

    Args:
        config: The model's configuration.
        length (`int`): Tokens that the pass computes.
        input_ids (`torch.LongTensor` of shape `(batch, length)`, *optional*): Their ids.
        attention_mask (`torch.Tensor`, *optional*): 0 at padding, `(batch, cached + length)`; or a whole mask of
            booleans, which what answers see is added to where there are `roles`, and which else stays as it is.
        position_ids (`torch.LongTensor` of shape `(3 or 4, batch, length)`, *optional*): Four rows without a mask are
            those of packed rows.
        cached (`int`, *optional*, defaults to 0): Columns in the cache.
        roles (`torch.LongTensor` of shape `(batch, cached + length)`, *optional*): See [`token_roles`], by default
            called for `input_ids`.

    Raises:
        InputError: If roles are needed and not given, or the model cannot follow `answer_sees="latents"`.
    """
    check_answer_settings(config)
    whole = attention_mask is not None and attention_mask.dim() == 4
    packed = attention_mask is None and not cached and position_ids is not None and len(position_ids) == 4
    if roles is None:
        if whole:
            return attention_mask
        if input_ids is None or packed or cached:
            raise InputError(
                'answer_sees is "latents", and the roles of tokens are unknown for packed rows, behind a cache, and '
                "without input_ids: pass what token_roles makes of the whole rows as roles"
            )
        roles = token_roles(input_ids, config, attention_mask)
    # Where nothing is hidden, attention that needs no whole mask stays quick.
    asking = roles[:, roles.shape[1] - length :]
    blind = (asking == ANSWER) | ((asking == QUESTION) & config.answer_sees_question)
    if (attention_mask is not None or not cached) and not bool(blind.any()):
        return attention_mask
    allowed = attention_mask if whole else packed_rows(position_ids[0]) if packed else None
    if attention_mask is not None and not whole:
        roles = roles.masked_fill(attention_mask == 0, PADDING)
    return answer_attention(roles, length, config.answer_sees_question, allowed)


def to_attention_argument(mask: torch.Tensor, config, dtype: torch.dtype) -> torch.Tensor:
    """A mask of any kind as the model's attention takes it.

    Whole masks of booleans `(batch, 1, queries, keys)` become numbers to add to the scores for "eager" attention; all
    others stay as they are.
    """
    if not isinstance(mask, torch.Tensor) or mask.dim() != 4 or mask.dtype != torch.bool:
        return mask
    if config.get_text_config()._attn_implementation != "eager":
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
