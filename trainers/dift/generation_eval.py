"""Evaluation during DIFT: greedy responses to held-out rows, with latents of the model's own."""

from collections.abc import Mapping, Sequence

from transformers import PreTrainedModel, ProcessorMixin

from ...eval_tasks.answers import extract_answer
from ...eval_tasks.predict import predict
from ...eval_tasks.scores import wilson_interval
from ...modeling.dataset_files import keep_videos_encoded
from ...modeling.row_rules import offered_letters
from ...modeling.tokens import LATENT_END, LATENT_PAD, LATENT_START

COUNTS = ("rows", "rows_with_blocks", "blocks", "whole_blocks", "correct", "chance")


def free_running_counts(
    model: PreTrainedModel, processor: ProcessorMixin, rows: Sequence[Mapping], batch_size: int, max_new_tokens: int
) -> dict[str, float]:
    """Answer rows and count what came of it; counts of several processes may be added.

    Args:
        model ([`FourDThinkerForConditionalGeneration`]): The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Rows of `dift`.
        batch_size (`int`): Rows decoded at once.
        max_new_tokens (`int`): Longest answer, latents included.

    Returns:
        `dict[str, float]`: The `COUNTS`; `chance` is the number of right answers that guessing would give.
    """
    counts = dict.fromkeys(COUNTS, 0.0)
    if not len(rows):
        return counts
    block = LATENT_START + LATENT_PAD * model.config.latent_size + LATENT_END
    responses = predict(model, processor, rows, batch_size, max_new_tokens, progress=False)
    for row, response in zip(keep_videos_encoded(rows), responses, strict=True):
        text = response or ""
        counts["rows"] += 1
        counts["rows_with_blocks"] += LATENT_START in text
        counts["blocks"] += text.count(LATENT_START)
        counts["whole_blocks"] += text.count(block)
        # The published rows have their options in the question and their key in the response.
        options = row["options"] or None
        key = row.get("answer") or extract_answer(row["response"])
        counts["correct"] += key is not None and extract_answer(text, options) == key
        counts["chance"] += 1 / len(offered_letters(options))
    return counts


def free_running_shares(counts: Mapping[str, float]) -> dict[str, float]:
    """Shares from the counts of all processes.

    They are of rows that open a block, of blocks that are whole, and of right answers; these with their 95 % interval,
    chance level and number of rows.
    """
    rows, blocks = counts["rows"], counts["blocks"]
    low, high = wilson_interval(round(counts["correct"]), round(rows))
    return {
        "rows_with_blocks": counts["rows_with_blocks"] / rows,
        "whole_blocks": counts["whole_blocks"] / blocks if blocks else 0.0,
        "accuracy": counts["correct"] / rows,
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_chance": counts["chance"] / rows,
        "accuracy_rows": rows,
    }
