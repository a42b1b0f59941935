"""Answer rows in batches by greedy decoding, for `fourdthinker eval` and the lmms-eval model."""

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..modeling.errors import InputError

if TYPE_CHECKING:
    from ..modeling.processing import Clip

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
MAX_NEW_TOKENS = 512


@dataclass(frozen=True)
class Prompt:
    """One question to the model.

    Attributes:
        text (`str`): The conversation up to where the model speaks.
        n_frames (`int`): Frames in the clip, known without decoding them; 0 for those of a video.
        clip (`Callable[[], Clip]`): Decodes the clip when its batch is due.
    """

    text: str
    n_frames: int
    clip: Callable[[], "Clip"]


def predict(
    model,
    processor,
    rows: Sequence[Mapping],
    batch_size: int = BATCH_SIZE,
    max_new_tokens: int = MAX_NEW_TOKENS,
    latent_transform: Callable | None = None,
    progress: bool = True,
) -> list[str | None]:
    """Answer rows by greedy decoding.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Rows with `question`, `options`, `frames` and `timestamps` (seconds).
        batch_size (`int`, *optional*, defaults to 32): Rows decoded at once; the answers do not depend on it.
        max_new_tokens (`int`, *optional*, defaults to 512): Longest response, latents included.
        latent_transform (`Callable`, *optional*): Applied to each state `(batch, 1, hidden)` before it is fed back.
        progress (`bool`, *optional*, defaults to `True`): Show a progress bar on stderr.

    Returns:
        `list[str | None]`: A response for each row, in the order of the rows, its latent tokens kept; `None` where
        the row's frames cannot be decoded, or do not fit their times.

    Raises:
        InputError: If a row's question or options are no texts for a prompt; the line names the row.
    """
    from ..modeling.dataset_files import keep_videos_encoded
    from ..modeling.processing import row_clip, row_prompt  # here, so that this package imports without torch

    prompts = [
        Prompt(
            text=row_prompt(processor, row),
            n_frames=len(row["frames"] or ()),
            clip=lambda index=index: row_clip(rows[index]),
        )
        for index, row in enumerate(keep_videos_encoded(rows))
    ]
    return respond(model, processor, prompts, batch_size, max_new_tokens, latent_transform, progress)


def respond(
    model,
    processor,
    prompts: Sequence[Prompt],
    batch_size: int = BATCH_SIZE,
    max_new_tokens: int = MAX_NEW_TOKENS,
    latent_transform: Callable | None = None,
    progress: bool = True,
) -> list[str | None]:
    """Answer prompts by greedy decoding; see `predict`, whose arguments these are."""
    check_sizes(batch_size, max_new_tokens)
    # Rows of like length waste little padding. Python's sort is stable, so equal prompts give equal batches.
    order = sorted(range(len(prompts)), key=lambda index: (prompts[index].n_frames, len(prompts[index].text)))
    responses: list[str | None] = [None] * len(prompts)
    training = model.training
    model.eval()
    try:
        with tqdm(
            total=len(prompts), desc="answering", unit="row", file=sys.stderr, disable=None if progress else True
        ) as bar:
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                texts, clips, decoded = _decode(prompts, chosen)
                if decoded:
                    answers = _generate(model, processor, texts, clips, max_new_tokens, latent_transform)
                    for index, answer in zip(decoded, answers, strict=True):
                        responses[index] = answer
                bar.update(len(chosen))
    finally:
        model.train(training)
    return responses


def check_sizes(batch_size: int, max_new_tokens: int) -> None:
    """Check that sizes are at least one, before anything is loaded."""
    if batch_size < 1 or max_new_tokens < 1:
        raise InputError(f"batch size and new tokens must be positive, got {batch_size} and {max_new_tokens}")


def _decode(prompts: Sequence[Prompt], chosen: Sequence[int]) -> tuple[list[str], list["Clip"], list[int]]:
    """The batch without the rows whose frames cannot be decoded."""
    texts, clips, decoded = [], [], []
    for index in chosen:
        try:
            clips.append(prompts[index].clip())
        except (InputError, OSError) as error:
            logger.warning("row %d counts as missing: %s", index, error)
            continue
        texts.append(prompts[index].text)
        decoded.append(index)
    return texts, clips, decoded


def decode_greedily(
    model,
    inputs: Mapping,
    max_new_tokens: int = MAX_NEW_TOKENS,
    latent_transform: Callable | None = None,
    streamer=None,
    **settings,
):
    """Greedy decoding by `model.generate`, regardless of the checkpoint's own generation config.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        inputs (`Mapping`): Encoded prompts on the model's device.
        max_new_tokens, latent_transform: As in `predict`.
        streamer (*optional*): A streamer of transformers, for a single prompt.
        settings: Other arguments of `generate`, such as `latent_size`.

    Returns:
        `LatentGenerateOutput`.
    """
    from ..modeling.generation_settings import without_checkpoint_generation_config

    with without_checkpoint_generation_config(model):
        return model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            latent_transform=latent_transform,
            streamer=streamer,
            return_dict_in_generate=True,
            **settings,
        )


def _generate(model, processor, texts, clips, max_new_tokens: int, latent_transform: Callable | None) -> list[str]:
    from ..modeling.processing import decode_response, encode

    inputs = encode(processor, texts, clips, padding_side="left").to(model.device)
    sequences = decode_greedily(model, inputs, max_new_tokens, latent_transform).sequences
    return [decode_response(processor, ids) for ids in sequences[:, inputs["input_ids"].shape[1] :]]
