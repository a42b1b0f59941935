"""Answer the same questions under every control, and record the latents of the model's own answers."""

import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from ...modeling.errors import InputError
from ..predict import check_sizes, decode_greedily
from .controls import OWN
from .own_latents import Batch, OwnLatents, measure_latents
from .replacement import LatentReplacement, Source, build_source

logger = logging.getLogger(__name__)


@dataclass
class Answers:
    """What a model said.

    Attributes:
        responses (`dict[str, list[str | None]]`): By control, `"own"` first, a response for each row; `None` where
            the row's video cannot be decoded.
        latents (`list[OwnLatents | None]`): What is known of each row's own latents.
    """

    responses: dict[str, list[str | None]]
    latents: list[OwnLatents | None] = field(default_factory=list)


def answer_controls(
    model,
    processor,
    rows: Sequence[Mapping],
    controls: Sequence[str],
    batch_size: int,
    max_new_tokens: int,
    seed: int = 0,
    progress: bool = True,
) -> Answers:
    """Answer rows by greedy decoding, first as the model does by itself and then under each control.

    The frames of a batch are decoded, and run through the vision tower, twice: once for the model's own answers, whose
    latents some controls need of all rows, and once for all controls together.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Rows with `task`, `question`, `options`, `frames` and `timestamps`; for the oracle
            `imagery`, and `imagery_masks` if the model pools regions.
        controls (`Sequence[str]`): Names of [`CONTROLS`].
        batch_size (`int`): Rows decoded at once; the answers do not depend on it.
        max_new_tokens (`int`): Longest response, the model's own latents included.
        seed (`int`, *optional*, defaults to 0): Of the noise, and of whose latents a row gets.
        progress (`bool`, *optional*, defaults to `True`): Show a progress bar on stderr.
    """
    from ...modeling.dataset_files import keep_videos_encoded

    check_sizes(batch_size, max_new_tokens)
    answers = Answers({name: [None] * len(rows) for name in (OWN, *controls)}, [None] * len(rows))
    tasks, sizes = [], []
    for row in keep_videos_encoded(rows):  # once: a row of a dataset is read from the disk with all its images
        tasks.append(row["task"])
        sizes.append((len(row["frames"] or ()), len(row["question"])))
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    training = model.training
    model.eval()
    total = len(rows) * (1 + len(controls))
    try:
        with tqdm(
            total=total, desc="answering", unit="row", file=sys.stderr, disable=None if progress else True
        ) as bar:
            for batch in _encode_batches(model, processor, rows, batches, warn=True):
                responses, output = _decode(model, processor, batch.inputs, max_new_tokens)
                known = measure_latents(model, processor, batch, output.latent_embeds, responses)
                for index, response, one in zip(batch.indices, responses, known, strict=True):
                    answers.responses[OWN][index], answers.latents[index] = response, one
                bar.update(len(batch.indices))
            sources = {name: build_source(name, model, tasks, answers.latents, seed) for name in controls}
            most_blocks = max((one.blocks for one in answers.latents if one is not None), default=0)
            for batch in _encode_batches(model, processor, rows, batches if controls else (), warn=False):
                for name, source in sources.items():
                    arguments = (model, processor, batch, name, source, max_new_tokens, most_blocks)
                    for index, response in zip(batch.indices, _decode_control(*arguments), strict=True):
                        answers.responses[name][index] = response
                    bar.update(len(batch.indices))
    finally:
        model.train(training)
    return answers


def _encode_batches(model, processor, rows, batches, warn: bool) -> Iterator[Batch]:
    """The batches, without rows whose frames cannot be decoded, and with a warning for each of those."""
    import torch

    from ...modeling.processing import encode, row_clip, row_prompt

    for chosen in batches:
        indices, members, clips = [], [], []
        for index in chosen:
            try:
                row = rows[index]
                clips.append(row_clip(row))
            except (InputError, OSError) as error:
                if warn:
                    logger.warning("row %d counts as missing: %s", index, error)
                continue
            indices.append(index)
            members.append(row)
        if not indices:
            continue
        inputs = dict(encode(processor, [row_prompt(processor, row) for row in members], clips).to(model.device))
        with torch.no_grad():
            pixels = inputs.pop("pixel_values_videos")
            video = model.get_video_features(pixels, inputs["video_grid_thw"], return_dict=True)
        inputs["mm_encoder_outputs"] = {"video": video}
        yield Batch(indices, members, inputs, tuple(video.pooler_output))


def _decode(model, processor, inputs: Mapping, max_new_tokens: int, **settings) -> tuple[list[str], Any]:
    """The responses to encoded prompts, and what `generate` returned."""
    from ...modeling.processing import decode_response

    output = decode_greedily(model, inputs, max_new_tokens, **settings)
    generated = output.sequences[:, inputs["input_ids"].shape[1] :]
    return [decode_response(processor, ids) for ids in generated], output


def _decode_control(
    model, processor, batch: Batch, name: str, source: Source | None, max_new_tokens: int, most_blocks: int
) -> list[str]:
    inputs, settings, size = batch.inputs, {}, model.config.latent_size
    if source is not None:
        replacement = LatentReplacement(model.config, inputs["input_ids"].shape[1], batch.indices, source)
        settings = {"latent_transform": replacement.transform, "stopping_criteria": [replacement]}
    elif name == "blind":
        inputs = _encode_without_video(model, processor, batch.rows)
    elif name == "forbidden":
        settings = {"suppress_tokens": [model.config.latent_start_token_id]}
    else:
        settings = {"latent_size": {"markers": 0, "half": size // 2, "double": 2 * size}[name]}
        # Longer blocks must not cost the answer its tokens.
        max_new_tokens += max(settings["latent_size"] - size, 0) * most_blocks
    return _decode(model, processor, inputs, max_new_tokens, **settings)[0]


def _encode_without_video(model, processor, rows: Sequence[Mapping]) -> dict[str, Any]:
    """The prompts of rows without their videos."""
    from ...modeling.prompts import question_text

    texts = []
    for row in rows:
        content = [{"type": "text", "text": question_text(row["question"], row["options"])}]
        message = [{"role": "user", "content": content}]
        texts.append(processor.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
    return dict(processor(text=texts, padding=True, padding_side="left", return_tensors="pt").to(model.device))
