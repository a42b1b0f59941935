"""Record of a rollout, and its encoding: prompts to model input before sampling, ids to completions after."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import BatchFeature, DynamicCache, PreTrainedModel, PreTrainedTokenizerBase, ProcessorMixin

from ...modeling.processing import encode, row_clip, row_prompt
from ...modeling.prompts import video_message
from ...modeling.row_rules import name_row
from ..common.video_inputs import EncodedVideo, video_inputs

# The columns that make a prompt: rows that agree on them are one prompt.
PROMPT_COLUMNS = ("question", "options", "timestamps", "frames")


@dataclass
class Rollout:
    """What belongs to the completions that TRL is working on, and that TRL does not pass between its methods.

    Each list has one entry for each completion, in TRL's order. [`LatentGRPOTrainer`] starts a record in
    `_generate_and_score_completions`, fills it in `_roll_out`, sends its lists along with the batch, which TRL
    shuffles and splits with its tensors, and reads them back in `_compute_loss`. So whatever TRL scores, the record
    holds the same completions: all of a rollout while their old and reference log-probs are computed, and those of
    one slice while a loss is.

    Attributes:
        rows (`list[dict]`):
            The dataset rows, with the `prompt` that TRL reads; rewards get their columns. Not sent along: only
            sampling, rewards and the log need them.
        ids (`list[str]`):
            The rows' ids, or their questions where they have none: what messages call them by.
        prompt_numbers (`list[int]`):
            Completions with one number have one prompt, which is computed once for all of them.
        videos (`list[EncodedVideo]`):
            The prompt's video as the model takes it; one object for all completions of a prompt.
        latents (`list[torch.Tensor]`):
            Hidden states that each completion fed back, `(latents, hidden)`: scoring puts them in the same places.
        equal_groups (`float`):
            Share of the groups, over all processes, whose completions all earned the same; of a rollout alone.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    prompt_numbers: list[int] = field(default_factory=list)
    videos: list[EncodedVideo] = field(default_factory=list)
    latents: list[torch.Tensor] = field(default_factory=list)
    equal_groups: float = 0.0

    @classmethod
    def start(cls, rows: Sequence[Mapping[str, Any]]) -> "Rollout":
        """A record of rows whose completions are still to be sampled.

        Raises:
            InputError: If a row makes no prompt; the line names it.
        """
        return cls(rows=[_add_prompt(row) for row in rows], ids=[str(row.get("id", row["question"])) for row in rows])

    @classmethod
    def from_batch(cls, batch: Mapping[str, Any]) -> "Rollout":
        """The record of the completions in one of TRL's batches."""
        return cls(**{name: batch[name] for name in _SENT_ALONG})

    def batch_columns(self) -> dict[str, list]:
        """The lists that travel with TRL's batch."""
        return {name: getattr(self, name) for name in _SENT_ALONG}


_SENT_ALONG = ("ids", "prompt_numbers", "videos", "latents")


def _add_prompt(row: Mapping[str, Any]) -> dict[str, Any]:
    with name_row(row):
        return {**row, "prompt": video_message(row["question"], row["options"])}


def group_prompts(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[int]]:
    """Find the distinct prompts among rows in which equal ones are adjacent.

    Returns:
        `tuple[list, list[int]]`: One row for each prompt, and for each row the number of its prompt.
    """
    prompts: list[Mapping[str, Any]] = []
    numbers = []
    for row in rows:
        if not prompts or any(row[column] != prompts[-1][column] for column in PROMPT_COLUMNS):
            prompts.append(row)
        numbers.append(len(prompts) - 1)
    return prompts, numbers


def encode_prompts(processor: ProcessorMixin, prompts: Sequence[Mapping[str, Any]]) -> BatchFeature:
    """Left-padded model input for dataset rows, the same as in training and evaluation.

    Raises:
        InputError: If a row's texts, frames or times cannot be encoded; the line names the row.
    """
    texts = [row_prompt(processor, row) for row in prompts]
    return encode(processor, texts, [row_clip(row) for row in prompts], padding_side="left")


def prefill_prompts(
    model: PreTrainedModel,
    tokens: Mapping[str, torch.Tensor],
    videos: Sequence[EncodedVideo],
    numbers: Sequence[int],
) -> dict[str, Any]:
    """Prefill the cache of each distinct prompt once for all rows that share it, for `generate` to continue.

    Args:
        model: The model inside its wrappers, as PEFT's own `generate` calls it: what decodes must compute the prompt.
        tokens (`Mapping[str, torch.Tensor]`): The distinct prompts, left-padded, each `(prompts, length)`.
        videos (`Sequence[EncodedVideo]`): Their videos.
        numbers (`Sequence[int]`): For each row the number of its prompt.

    Returns:
        `dict`: `cache` with a row for each of `numbers`, of all but the prompt's last token, from which
        `generate` starts.
    """
    cache = DynamicCache(config=model.config.get_text_config())
    begun = {name: values[:, :-1] for name, values in tokens.items()}
    model(**begun, **video_inputs(videos), cache=cache, use_cache=True, logits_to_keep=1)
    rows = torch.tensor(numbers)  # not on a device: a model's layers may lie on several
    cache.batch_select_indices(rows)
    # Where transformers keeps how far a row's positions are ahead of its length.
    model.model.rope_deltas = model.model.rope_deltas[rows]
    return {"cache": cache}


@contextmanager
def keep_responses_whole(tokenizer: PreTrainedTokenizerBase) -> Iterator[None]:
    """Within it, TRL splits no completion into reasoning and answer: rewards get the whole text, with its tags.

    Args:
        tokenizer: The one of the model's processor.
    """
    template = getattr(tokenizer, "response_template", None)
    tokenizer.response_template = None
    try:
        yield
    finally:
        tokenizer.response_template = template


def truncate_at_eos(ids: Sequence[int], ends: Sequence[int]) -> list[int]:
    """Token ids up to and including the first one that ends the turn."""
    ids = list(ids)
    first = min((ids.index(end) for end in ends if end in ids), default=len(ids) - 1)
    return ids[: first + 1]
