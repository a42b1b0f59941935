"""Answer questions in batches, for `fourdthinker eval` and the lmms-eval model."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..modeling.errors import InputError
from ..modeling.progress import Progress
from .choice import complete_by_choice
from .controls import repeat_first_frame
from .conversations import Conversation, Messages, Prompt, decode, digest, digest_messages, row_prompt
from .sampling import RowSampler, Sampling
from .unanswered import cause_not_asked

if TYPE_CHECKING:
    from .benchmark import Benchmark
    from .journal import Journal

logger = logging.getLogger(__name__)

BATCH_SIZE = 32
MAX_NEW_TOKENS = 512


def predict(
    model,
    processor,
    rows: Sequence[Mapping],
    batch_size: int = BATCH_SIZE,
    max_new_tokens: int = MAX_NEW_TOKENS,
    latent_transform: Callable | None = None,
    progress: bool = True,
    benchmark: "Benchmark | None" = None,
    sample: int = 0,
    **settings: Any,
) -> list[str | None]:
    """Answer rows by greedy decoding.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Rows with `question`, `options`, and `frames` with `timestamps` (seconds), or a
            `video` file; a row with neither is asked without a video.
        batch_size (`int`, *optional*, defaults to 32): Rows decoded at once; it is halved where memory does not
            suffice. In float32 the answers do not depend on it. In half precision rounding does, so that of two tokens
            that are almost equally likely another one may be taken.
        max_new_tokens (`int`, *optional*, defaults to 512): Longest response, latents included.
        latent_transform (`Callable`, *optional*): Applied to each state `(batch, 1, hidden)` before it is fed back.
        progress (`bool`, *optional*, defaults to `True`): Show on stderr how far it is, see [`Progress`].
        benchmark (`Benchmark`, *optional*): Whose rows they are, for their wording and how videos are sampled.
        sample (`int`, *optional*, defaults to 0): Which of several answers this is to be, where `sampling` draws them.
        settings: Further ones of [`Answering`], such as `journal`.

    Returns:
        `list[str | None]`: A response for each row, in the order of the rows, its latent tokens kept; `None` where
        the row's video is missing or cannot be decoded, or its frames do not fit their times.

    Raises:
        InputError: If a row's question or options are no texts for a prompt; the line names the row.
    """
    from ..modeling.dataset_files import keep_videos_encoded

    prompts = [replace(row_prompt(row, benchmark), sample=sample) for row in keep_videos_encoded(rows)]
    if benchmark:
        settings = {"max_pixels": benchmark.frames.max_pixels, **settings}
    return respond(model, processor, prompts, batch_size, max_new_tokens, latent_transform, progress, **settings)


def respond(
    model,
    processor,
    prompts: Sequence[Prompt],
    batch_size: int = BATCH_SIZE,
    max_new_tokens: int = MAX_NEW_TOKENS,
    latent_transform: Callable | None = None,
    progress: bool = True,
    **settings: Any,
) -> list[str | None]:
    """Answer prompts; see `predict`, whose arguments these are."""
    check_sizes(batch_size, max_new_tokens)
    answering = Answering(model, processor, batch_size, max_new_tokens, latent_transform, **settings)
    # Rows of like length waste little padding. Python's sort is stable, so equal prompts give equal batches.
    order = sorted(range(len(prompts)), key=lambda index: prompts[index].length)
    responses: list[str | None] = [None] * len(prompts)
    training = model.training
    model.eval()
    try:
        with Progress("answers", len(prompts), shown=progress) as answered:
            waiting = order
            while waiting:
                chosen, waiting = waiting[: answering.batch_size], waiting[answering.batch_size :]
                answers = answering.answer([prompts[index] for index in chosen])
                for index, answer in zip(chosen, answers, strict=True):
                    responses[index] = answer
                answered.advance(len(chosen))
    finally:
        model.train(training)
    return responses


def check_sizes(batch_size: int, max_new_tokens: int) -> None:
    """Check that sizes are at least one, before anything is loaded."""
    if batch_size < 1 or max_new_tokens < 1:
        raise InputError(f"batch size and new tokens must be positive, got {batch_size} and {max_new_tokens}")


@dataclass
class Answering:
    """A model that answers one batch of prompts after another.

    Attributes:
        model, processor, max_new_tokens, latent_transform: As in `predict`.
        batch_size (`int`): Conversations decoded at once; halved where memory does not suffice.
        max_pixels (`int`, *optional*): Pixels of a frame or image at most, see `processing.encode`.
        standing_still (`bool`): Show the first frame of each video at all of its times.
        sampling ([`Sampling`], *optional*): Draw the answers in place of taking the likeliest token.
        journal ([`Journal`], *optional*): Where finished answers are kept, and found again.
        reading (`str`): `"response"`, or `"choice"` for what [`complete_by_choice`] makes of it.
        describe_failure (`Callable[[Exception], str | None]`): The response where media cannot be decoded.
    """

    model: Any
    processor: Any
    batch_size: int = BATCH_SIZE
    max_new_tokens: int = MAX_NEW_TOKENS
    latent_transform: Callable | None = None
    max_pixels: int | None = None
    standing_still: bool = False
    sampling: Sampling | None = None
    journal: "Journal | None" = None
    reading: str = "response"
    describe_failure: Callable[[Exception], str | None] = lambda error: None
    _known: dict[str, str] = field(default_factory=dict)

    def answer(self, prompts: Sequence[Prompt]) -> list[str | None]:
        """Answer a batch: what is known from the journal or an equal prompt before is not asked again."""
        failures: dict[int, str | None] = {}
        keys: list[str | None] = []
        due: dict[str, Conversation] = {}
        clips: dict = {}
        for index, prompt in enumerate(prompts):
            key = None
            try:
                messages = prompt.messages()
                key = self._key(prompt, messages)
                if key not in due and not self._recall(key):
                    due[key] = replace(decode(self.processor, messages, clips), options=prompt.options)
            except (InputError, OSError) as error:
                logger.warning("row %s was not asked: %s", prompt.name or index, cause_not_asked(error))
                failures[index] = self.describe_failure(error)
            keys.append(key)
        self._ask(due)
        return [failures[index] if index in failures else self._known[key] for index, key in enumerate(keys)]

    def _key(self, prompt: Prompt, messages: Messages) -> str:
        sampling = self.sampling and [self.sampling.to_dict(), prompt.sample]
        settings = [prompt.scope, self.max_new_tokens, self.max_pixels, self.standing_still, sampling]
        settings += [self.reading, prompt.options] if self.reading != "response" else []
        return digest([digest_messages(messages), *settings])

    def _recall(self, key: str) -> bool:
        kept = None if self.journal is None else self.journal.get(key)
        if kept is not None:
            self._known[key] = kept
        return key in self._known

    def _ask(self, due: Mapping[str, Conversation]) -> None:
        from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

        waiting = list(due.items())
        while waiting:
            part = dict(waiting[: self.batch_size])
            try:
                answers = dict(zip(part, self._generate(part), strict=True))
            except RuntimeError as error:
                if not should_reduce_batch_size(error):
                    raise
                if len(part) == 1:
                    raise InputError(
                        "memory does not suffice for one conversation: give fewer max_frames, max_pixels or "
                        "max_new_tokens"
                    ) from error
                self.batch_size = (len(part) + 1) // 2
                logger.warning("out of memory: going on with %d rows at once", self.batch_size)
                answers = {}
            if not answers:
                clear_device_cache(garbage_collection=True)  # outside `except`, whose traceback holds tensors
                continue
            if self.journal is not None:
                self.journal.add(answers)
            self._known.update(answers)
            del waiting[: len(part)]

    def _generate(self, part: Mapping[str, Conversation]) -> list[str]:
        from ..modeling.latent_rules import LatentRules
        from ..modeling.processing import decode_response, encode
        from ..modeling.tower_features import share_video_features

        conversations = list(part.values())
        clips = [clip for one in conversations for clip in one.clips]
        clips = [repeat_first_frame(clip) for clip in clips] if self.standing_still else clips
        images = [image for one in conversations for image in one.images]
        texts = [one.text for one in conversations]
        inputs = encode(self.processor, texts, clips, "left", images, self.max_pixels).to(self.model.device)
        videos = [video for one in conversations for video in one.videos]
        shared = share_video_features(self.model, dict(inputs), [videos.index(video) for video in videos])
        sampler = None
        if self.sampling is not None:
            sampler = RowSampler(self.sampling, list(part), LatentRules.from_config(self.model.config))
        output = decode_greedily(self.model, shared, self.max_new_tokens, self.latent_transform, sampler=sampler)
        if self.reading == "choice":
            options = [one.options for one in conversations]
            return complete_by_choice(self.model, self.processor, shared, output, options)
        new = output.sequences[:, inputs["input_ids"].shape[1] :]
        return [decode_response(self.processor, ids) for ids in new]


def decode_greedily(
    model,
    inputs: Mapping,
    max_new_tokens: int = MAX_NEW_TOKENS,
    latent_transform: Callable | None = None,
    streamer=None,
    sampler: RowSampler | None = None,
    **settings: Any,
):
    """Greedy decoding by `model.generate`, regardless of the checkpoint's own generation config.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        inputs (`Mapping`): Encoded prompts on the model's device.
        max_new_tokens, latent_transform: As in `predict`.
        streamer (*optional*): A streamer of transformers, for a single prompt.
        sampler ([`RowSampler`], *optional*): Makes it draw samples.
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
            logits_processor=None if sampler is None else [sampler],
            return_dict_in_generate=True,
            **settings,
        )
