"""Answer the same questions under every control, and record the latents of the model's own answers."""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from ...modeling.errors import InputError
from ..controls import hide_video, video_key
from ..conversations import Conversation, decode, row_prompt
from ..predict import check_sizes, decode_greedily
from .controls import OWN
from .examples import MOST_EXAMPLES, Example, collect_examples
from .own_latents import Batch, OwnLatents, measure_latents
from .replacement import LatentReplacement, Source, build_source

if TYPE_CHECKING:
    from ..benchmark import Benchmark

logger = logging.getLogger(__name__)


@dataclass
class Answers:
    """What a model said.

    Attributes:
        responses (`dict[str, list[str | None]]`): By control, `"own"` first, a response for each row; `None` where
            the row's video cannot be decoded.
        latents (`list[OwnLatents | None]`): What is known of each row's own latents.
        examples (`list[Example]`): A few answers with pictures.
    """

    responses: dict[str, list[str | None]]
    latents: list[OwnLatents | None]
    examples: list[Example] = field(default_factory=list)


def answer_controls(
    model,
    processor,
    rows: Sequence[Mapping],
    controls: Sequence[str],
    batch_size: int,
    max_new_tokens: int,
    seed: int = 0,
    progress: bool = True,
    benchmark: "Benchmark | None" = None,
) -> Answers:
    """Answer rows by greedy decoding, first as the model does by itself and then under each control.

    The frames of a batch are decoded, and run through the vision tower, twice: once for the model's own answers, whose
    latents some controls need of all rows, and once for all controls together.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Rows with `id`, `task`, `question`, `options`, and `frames` with `timestamps`, or a
            `video` file; for the oracle `imagery`, and `imagery_masks` if the model pools regions.
        controls (`Sequence[str]`): Names of [`CONTROLS`].
        batch_size (`int`): Rows decoded at once; the answers do not depend on it.
        max_new_tokens (`int`): Longest response, the model's own latents included.
        seed (`int`, *optional*, defaults to 0): Of the noise, and of whose latents a row gets.
        progress (`bool`, *optional*, defaults to `True`): Show a progress bar on stderr.
        benchmark ([`Benchmark`], *optional*): Whose rows they are, for their wording and how videos are sampled.
    """
    check_sizes(batch_size, max_new_tokens)
    encoder = _Encoder(model, processor, rows, benchmark)
    answers = Answers({name: [None] * len(rows) for name in (OWN, *controls)}, [None] * len(rows))
    batches = encoder.plan_batches(batch_size)
    training = model.training
    model.eval()
    total = sum(map(len, batches)) * (1 + len(controls))
    try:
        with tqdm(
            total=total, desc="answering", unit="row", file=sys.stderr, disable=None if progress else True
        ) as bar:
            for batch in filter(None, map(encoder.encode, batches)):
                responses, output = _decode(model, processor, batch.inputs, max_new_tokens)
                known = measure_latents(model, processor, batch, output.latent_embeds, responses)
                missing = MOST_EXAMPLES - len(answers.examples)
                answers.examples += collect_examples(batch, known, responses, missing)
                for index, response, one in zip(batch.indices, responses, known, strict=True):
                    answers.responses[OWN][index], answers.latents[index] = response, one
                bar.update(len(batch.indices))
            places = list(zip(encoder.tasks, encoder.videos, strict=True))
            sources = {name: build_source(name, model, places, answers.latents, seed) for name in controls}
            most_blocks = max((one.blocks for one in answers.latents if one is not None), default=0)
            for batch in filter(None, map(encoder.encode, batches)) if controls else ():
                for name, source in sources.items():
                    inputs = encoder.encode_blind(batch) if name == "blind" else batch.inputs
                    arguments = (model, processor, inputs, batch.indices, name, source, max_new_tokens, most_blocks)
                    for index, response in zip(batch.indices, _decode_control(*arguments), strict=True):
                        answers.responses[name][index] = response
                    bar.update(len(batch.indices))
    finally:
        model.train(training)
    return answers


class _Encoder:
    """Encodes batches of rows; knows what is asked and shown, but holds no decoded video."""

    def __init__(self, model, processor, rows: Sequence[Mapping], benchmark: "Benchmark | None"):
        from ...modeling.dataset_files import keep_videos_encoded

        self._model, self._processor, self._rows, self._benchmark = model, processor, rows, benchmark
        self._max_pixels = benchmark.frames.max_pixels if benchmark else None
        self._failed: set[int] = set()
        self.tasks, self.videos, self._lengths = [], [], []
        for row in keep_videos_encoded(rows):  # once: a row of a dataset is read from the disk with all its images
            self.tasks.append(row["task"])
            self.videos.append(video_key(row))
            self._lengths.append(row_prompt(row, benchmark).length)

    def plan_batches(self, batch_size: int) -> list[list[int]]:
        """The places of the rows of each batch, rows of like length together."""
        order = sorted(range(len(self._lengths)), key=self._lengths.__getitem__)
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def encode(self, indices: Sequence[int]) -> Batch | None:
        """Encode rows, without those whose video cannot be decoded; `None` if none is left."""
        import torch

        rows, conversations, decoded = [], [], []
        clips: dict = {}
        for index in indices:
            if index in self._failed:
                continue
            try:
                row = self._rows[index]
                conversations.append(decode(self._processor, row_prompt(row, self._benchmark).messages(), clips))
            except (InputError, OSError) as error:
                logger.warning("row %d counts as missing: %s", index, error)
                self._failed.add(index)
                continue
            rows.append(row)
            decoded.append(index)
        if not rows:
            return None
        inputs, counts = self._to_inputs(conversations), [len(one.clips) for one in conversations]
        features = [None] * len(rows)
        if "pixel_values_videos" in inputs:
            with torch.no_grad():
                pixels, grids = inputs.pop("pixel_values_videos"), inputs["video_grid_thw"]
                video = self._model.get_video_features(pixels, grids, return_dict=True)
            inputs["mm_encoder_outputs"] = {"video": video}
            each = iter(zip(video.pooler_output, grids.tolist(), strict=True))
            features = [next(each) if count else None for count in counts]
        return Batch(decoded, rows, inputs, features, [one.clips[0] if one.clips else None for one in conversations])

    def encode_blind(self, batch: Batch) -> dict[str, Any]:
        """The prompts of a batch without their videos."""
        prompts = [row_prompt(hide_video(row), self._benchmark) for row in batch.rows]
        return self._to_inputs([decode(self._processor, prompt.messages(), {}) for prompt in prompts])

    def _to_inputs(self, conversations: Sequence[Conversation]) -> dict[str, Any]:
        from ...modeling.processing import encode

        texts = [one.text for one in conversations]
        clips = [clip for one in conversations for clip in one.clips]
        encoded = encode(self._processor, texts, clips, max_pixels=self._max_pixels)
        return dict(encoded.to(self._model.device))


def _decode(model, processor, inputs: Mapping, max_new_tokens: int, **settings) -> tuple[list[str], Any]:
    """The responses to encoded prompts, and what `generate` returned."""
    from ...modeling.processing import decode_response

    output = decode_greedily(model, inputs, max_new_tokens, **settings)
    generated = output.sequences[:, inputs["input_ids"].shape[1] :]
    return [decode_response(processor, ids) for ids in generated], output


def _decode_control(
    model,
    processor,
    inputs: Mapping,
    indices: Sequence[int],
    name: str,
    source: Source | None,
    max_new_tokens: int,
    most_blocks: int,
) -> list[str]:
    settings, size = {}, model.config.latent_size
    sizes = {"markers": 0, "half": size // 2, "double": 2 * size}
    if source is not None:
        replacement = LatentReplacement(model.config, inputs["input_ids"].shape[1], indices, source)
        settings = {"latent_transform": replacement.transform, "stopping_criteria": [replacement]}
    elif name == "forbidden":
        settings = {"suppress_tokens": [model.config.latent_start_token_id]}
    elif name in sizes:
        settings = {"latent_size": sizes[name]}
        # Longer blocks must not cost the answer its tokens.
        max_new_tokens += max(sizes[name] - size, 0) * most_blocks
    return _decode(model, processor, inputs, max_new_tokens, **settings)[0]
