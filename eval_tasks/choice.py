"""Restricted choice: read the answer as the option with the highest log-prob after the model's own reasoning.

A response whose answer cannot be read counts as wrong, and a model that was trained on another format loses for its
format alone. Here the reasoning, latents included, stays what the model decoded; its answer is the option that is
likeliest next, by its letter or by its text, whichever the model was trained to write. Importing this loads no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..modeling.errors import InputError
from ..modeling.tokens import LATENT_END, OPTION_LETTERS, format_answer
from .extended_prompts import extend_prompts

READINGS = ("response", "choice")
ANSWER_START, _THINK, _THOUGHT, _TURN_END = "<answer>", "<think>", "</think>", "<|im_end|>"


def check_reading(reading: str) -> str:
    """The name of a reading, or an error that lists them."""
    if reading not in READINGS:
        raise InputError(f"unknown reading {reading!r}: choose one of {', '.join(READINGS)}")
    return reading


def complete_by_choice(
    model, processor, inputs: Mapping[str, Any], output, options: Sequence[Sequence[str] | None]
) -> list[str]:
    """Responses with the answer of each replaced by the likeliest of its options.

    An option's probability is that of an answer that begins with its letter and a full stop, plus those of one that is
    its letter alone and of one that is its text. A letter counts only with what ends it, since words begin with
    letters too: `D` may be the beginning of "Dolly In".

    Args:
        model: The model.
        processor: Its processor.
        inputs (`Mapping`): The encoded prompts that `generate` was given.
        output (`LatentGenerateOutput`): What it returned for them; its latents are replayed.
        options (`Sequence[Sequence[str]]`): The options of each row; a row without any keeps its response.

    Returns:
        `list[str]`: For each row its reasoning and `<answer>B. …</answer>`.
    """
    from ..modeling.processing import decode_response

    length = inputs["input_ids"].shape[1]
    responses = [decode_response(processor, ids) for ids in output.sequences[:, length:]]
    if not any(options):
        return responses
    opened = [open_answer(response) for response in responses]
    pairs = zip(opened, options, strict=True)
    candidates = [split_candidates(processor.tokenizer, text, offered or ()) for text, offered in pairs]
    scores = score_options(model, inputs, candidates, output.latent_embeds)
    for row, offered in enumerate(options):
        if offered:
            answer = format_answer(OPTION_LETTERS[int(scores[row, : len(offered)].argmax())], offered)
            responses[row] = opened[row] + answer + _close(opened[row])
    return responses


def open_answer(response: str) -> str:
    """What a response says up to where its answer begins.

    That is after the first `<answer>`, or one that is added to the reasoning; a thought that was left open is closed.
    A response without tags answers at once: behind its last latent block, or as its first word.
    """
    if ANSWER_START not in response and _THINK not in response:
        return response[: response.rfind(LATENT_END) + len(LATENT_END)] if LATENT_END in response else ""
    before, answered, _ = response.partition(ANSWER_START)
    if not answered and _THOUGHT in before:
        before = before[: before.index(_THOUGHT) + len(_THOUGHT)]
    closing = _THOUGHT if _THINK in before and _THOUGHT not in before else ""
    return f"{before}{closing}{ANSWER_START}"


def _close(opened: str) -> str:
    return "</answer>" if opened.endswith(ANSWER_START) else ""


@dataclass(frozen=True)
class Candidates:
    """The answers that a row may have.

    Attributes:
        shared (`list[int]`): Tokens up to where the answers differ.
        marked, letters, texts (`list[list[int]]`): The tokens that come next, for each option's letter with a full
            stop, its letter with the end of the answer, and its text with that end.
    """

    shared: list[int]
    marked: list[list[int]]
    letters: list[list[int]]
    texts: list[list[int]]


def split_candidates(tokenizer, opened: str, options: Sequence[str]) -> Candidates:
    """Tokenize the answers that may follow what [`open_answer`] gave."""
    letters, end = OPTION_LETTERS[: len(options)], _close(opened) or _TURN_END
    endings = [*(f"{letter}." for letter in letters), *(f"{answer}{end}" for answer in (*letters, *options))]
    texts = [f"{opened}{ending}" for ending in endings] or [opened]
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    shared = 0
    while all(len(one) > shared + 1 and one[shared] == ids[0][shared] for one in ids):
        shared += 1
    tails, count = [one[shared:] for one in ids], len(letters)
    return Candidates(ids[0][:shared], tails[:count], tails[count : 2 * count], tails[2 * count :])


def score_options(model, inputs: Mapping[str, Any], candidates: Sequence[Candidates], latents: Sequence):
    """Log-probs `(batch, most options)` of the options of each row; meaningless beyond a row's last option.

    What the answers of a row share is computed once, and each answer goes on from its cache. Where the letters alone
    decide every row, since no text is likely enough to change the order, these are the letters'.

    Args:
        model: The model.
        inputs (`Mapping`): The encoded prompts.
        candidates (`Sequence[Candidates]`): The answers that each may have.
        latents (`Sequence[torch.Tensor]`): For each row what to feed at its latent pads, `(latents, hidden)`.
    """
    import torch

    prefix = _Prefix(model, inputs, [row.shared for row in candidates], latents)
    numbers = range(max(len(row.texts) for row in candidates))

    def score(kind: str):
        return torch.stack(
            [prefix.score([_pick(getattr(row, kind), number) for row in candidates]) for number in numbers], 1
        )

    of_letters = torch.logaddexp(score("marked"), score("letters"))
    if _is_decided(of_letters, candidates):
        return of_letters
    return torch.logaddexp(of_letters, score("texts"))


def _is_decided(of_letters, candidates: Sequence[Candidates]) -> bool:
    """Whether in each row the likeliest letter leads by more than all that is left for the options' texts."""
    for row, found in zip(of_letters.exp(), candidates, strict=True):
        shares = row[: len(found.letters)].sort(descending=True).values
        if len(shares) > 1 and shares[0] - shares[1] <= 1 - shares.sum():
            return False
    return True


def _pick(tails: Sequence[list[int]], number: int) -> list[int]:
    """The tokens of an option; the last one's for a number beyond, none where there are no options."""
    return tails[min(number, len(tails) - 1)] if tails else []


class _Prefix:
    """Prompts with what all answers share, in a cache from which each answer goes on.

    Rows are filled on the left, so that all end in the last column; their latents stand at the pads.
    """

    def __init__(self, model, inputs: Mapping[str, Any], shared: Sequence[list[int]], latents: Sequence):
        from transformers import DynamicCache

        from ..modeling.rope_positions import GRIDS

        self._model = model
        context = extend_prompts(model, inputs, shared, latents)
        self._ids, self._mask = context.pop("input_ids"), context.pop("attention_mask")
        grids = {name: context[name] for name in GRIDS if name in context}
        positions, _ = model.model.get_rope_index(self._ids, attention_mask=self._mask, **grids)
        self._next = positions[..., -1:] + 1
        self._cache = DynamicCache(config=model.config.get_text_config())
        self._first = self._run(self._ids, self._mask, logits_to_keep=1, position_ids=positions, **context)

    def score(self, tails: Sequence[list[int]]):
        """Log-probs `(batch,)` of one answer of each row, on the CPU."""
        import torch

        steps, longest = self._first, max(map(len, tails))
        if longest > 1:
            ids = torch.stack([self._ids.new_tensor(tail + [0] * (longest - len(tail))) for tail in tails])[:, :-1]
            steps = torch.cat([steps, self._go_on(ids)], dim=1)
        return torch.stack([row[range(len(tail)), tail].sum() for row, tail in zip(steps, tails, strict=True)])

    def _go_on(self, ids):
        """What comes after each of these tokens `(batch, length)`; the cache is as before afterwards."""
        import torch

        from ..modeling.answer_mask import token_roles

        positions = self._next + torch.arange(ids.shape[1], device=ids.device)
        mask = torch.cat([self._mask, torch.ones_like(ids)], dim=1)
        arguments = {}
        if self._model.config.answer_sees == "latents":
            arguments["roles"] = token_roles(torch.cat([self._ids, ids], dim=1), self._model.config, mask)
        steps = self._run(ids, mask, position_ids=positions, **arguments)
        self._cache.crop(-ids.shape[1])
        return steps

    def _run(self, ids, mask, **arguments):
        """Log-probs `(batch, kept, vocabulary)` of what comes next, on the CPU."""
        import torch

        from ..modeling.cache_name import CACHE_NAME

        with torch.no_grad():
            arguments |= {"input_ids": ids, "attention_mask": mask, CACHE_NAME: self._cache, "use_cache": True}
            return self._model(**arguments).logits.float().log_softmax(-1).cpu()
