"""Decode latents inside transformers' own `generate`, without a decoding loop of our own.

The hidden state of each step travels to the next one in the generation's model arguments, a stateless logits
processor forces the block's tokens, and the inner model puts the state in the place of the pad's embedding. All that
one call to `generate` remembers lives in its [`LatentFeedback`], so calls do not see each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import LogitsProcessor, LogitsProcessorList
from transformers.generation import GenerateDecoderOnlyOutput
from transformers.generation.configuration_utils import GenerationMode
from transformers.utils import ModelOutput

from .answer_columns import AnswerColumns, select_columns
from .cache_name import CACHE_NAME, rename_cache
from .errors import InputError
from .latent_rules import LatentRules
from .rope_positions import token_types

LatentTransform = Callable[[torch.Tensor], torch.Tensor]
# Steps for which `LatentFeedback` allocates its buffer at first; the buffer doubles when it is full.
_FIRST_STEPS = 128


@dataclass
class LatentGenerateOutput(GenerateDecoderOnlyOutput):
    """What `generate` returns with `return_dict_in_generate=True`.

    Attributes:
        latent_embeds (`list[torch.Tensor]`):
            For each returned row a tensor of shape `(latents, hidden)`: the vectors that stood in the place of its
            latent pads, in order of position, those of the prompt included, unless a cache that was passed in
            holds them already.
    """

    latent_embeds: list[torch.Tensor] | None = None


class LatentFeedback:
    """What one call to `generate` feeds back and records.

    Between two tokens nothing here waits for the device: the states of all rows go into a buffer, and which of them
    are latents is read off the ids once, at the end.

    Args:
        rules ([`LatentRules`]): Token ids and block size.
        transform (`Callable`, *optional*): From and to states of shape `(batch, 1, hidden)`, applied before feeding.
        prompt (`list[torch.Tensor]`, *optional*): Latents of the prompts, `(latents, hidden)` for each row.
        ends (`tuple[int, ...]`, *optional*): Tokens that end a turn.
        prompt_ids (`torch.LongTensor` of shape `(prompts, length)`, *optional*): The prompts, if they are given whole.

    Attributes:
        columns ([`AnswerColumns`], *optional*): Of the cache, once the prompts are computed, with
            `answer_sees="latents"`.
    """

    def __init__(
        self,
        rules: LatentRules,
        transform: LatentTransform | None = None,
        prompt: list[torch.Tensor] | None = None,
        ends: tuple[int, ...] = (),
        prompt_ids: torch.LongTensor | None = None,
    ):
        self.rules = rules
        self.transform = transform
        self.prompt = prompt
        self.ends, self.prompt_ids = ends, prompt_ids
        self.columns: AnswerColumns | None = None
        self._fed: torch.Tensor | None = None
        self._first: int | None = None
        # Of shape (batch, allocated steps, hidden).
        self._states: torch.Tensor | None = None

    def feed(self, state: torch.Tensor) -> torch.Tensor:
        """Take the last hidden states `(batch, 1, hidden)`; give what the next step gets at latent pads.

        Raises:
            InputError: If the transform changes the shape.
        """
        # A copy: a compiled forward may write its next output over this one, a transform may work in place.
        state = state.clone()
        self._fed = state if self.transform is None else self.transform(state)
        if self._fed.shape != state.shape:
            raise InputError(
                f"latent_transform turned {tuple(state.shape)} into {tuple(self._fed.shape)}: it must keep the shape"
            )
        return self._fed

    def record(self, position: int) -> None:
        """Keep what is fed at `position`, the next one of every row, in case that a pad comes there."""
        if self._first is None:
            self._first = position
            self._states = self._fed.new_empty(len(self._fed), _FIRST_STEPS, self._fed.shape[-1])
        step = position - self._first
        if step == self._states.shape[1]:
            # Only the stopping criteria know how many steps there will be.
            self._states = torch.cat([self._states, torch.empty_like(self._states)], dim=1)
        self._states[:, step] = self._fed[:, 0]

    def collect(self, sequences: torch.LongTensor) -> list[torch.Tensor]:
        """The latents `(latents, hidden)` of every returned row of `sequences`, in order of position."""
        expand = sequences.shape[0] // len(self.prompt)
        prompts = [latents for latents in self.prompt for _ in range(expand)]
        pads = sequences[:, self._first :] == self.rules.pad
        decoded = self._states[:, : pads.shape[1]][pads].split(pads.sum(1).tolist())
        return [torch.cat([before.to(after), after]) for before, after in zip(prompts, decoded, strict=True)]


class LatentLogitsProcessor(LogitsProcessor):
    """Forces pads and end of a latent block and bans both elsewhere; its state is the ids alone.

    Args:
        rules ([`LatentRules`]): Token ids and block size.
        feedback ([`LatentFeedback`], *optional*): Records what is fed at each position.
    """

    def __init__(self, rules: LatentRules, feedback: LatentFeedback | None = None):
        self.rules = rules
        self.feedback = feedback

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Constrain `scores` of shape `(batch, vocabulary)` by the ids so far."""
        forced = self.rules.forced(input_ids)
        if self.feedback is not None:
            self.feedback.record(input_ids.shape[1])
        return self.rules.constrain(forced, scores)


class AnswerLogitsProcessor(LogitsProcessor):
    """Bans what no answer says, see [`AnswerColumns`], before anything chooses among the rest.

    Args:
        feedback ([`LatentFeedback`]): Of the same call.
    """

    def __init__(self, feedback: LatentFeedback):
        self.feedback = feedback

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Constrain `scores` of shape `(batch, vocabulary)`."""
        columns = self.feedback.columns
        return scores if columns is None else columns.constrain(scores)


class LatentGenerationMixin:
    """`generate` with latents, for a class whose `forward` takes `latent_embeds` and returns `last_hidden_state`."""

    _supported_generation_modes = [GenerationMode.GREEDY_SEARCH, GenerationMode.SAMPLE]

    def generate(
        self,
        inputs: torch.Tensor | None = None,
        generation_config=None,
        logits_processor: LogitsProcessorList | None = None,
        *,
        latent_size: int | None = None,
        latent_transform: LatentTransform | None = None,
        **kwargs,
    ) -> LatentGenerateOutput | torch.LongTensor:
        """transformers' `generate`, with latent blocks.

        Args:
            inputs, generation_config, logits_processor: As in transformers.
            latent_size (`int`, *optional*):
                Latents in a block; by default the configuration's. With 0 a block is its start and its end.
            latent_transform (`Callable`, *optional*):
                From and to states of shape `(batch, 1, hidden)`; applied to every state before it is fed back, after
                the configuration's `latent_norm`.
            kwargs:
                As in transformers; and `latent_embeds`, packed to `(latents, hidden)`, for the latent pads of the
                prompts, row after row.

        Returns:
            [`LatentGenerateOutput`] with `return_dict_in_generate=True`, else the ids.

        Raises:
            InputError: On beams, assisted decoding, `use_cache=False`, and prompts with latent pads but no
                `latent_embeds`; with `answer_sees="latents"` on static caches and prompts that are not whole.
        """
        if self.training and any(getattr(module, "gradient_checkpointing", False) for module in self.modules()):
            raise InputError("gradient checkpointing drops the cache in training mode: call model.eval() to generate")
        rules = LatentRules.from_config(self.config, latent_size)
        kwargs = rename_cache(kwargs)
        ids = kwargs.get("input_ids", inputs)
        if getattr(kwargs.get(CACHE_NAME), "cropped", False):
            raise InputError(
                "the cache was cropped to what an answer sees, and nothing else can be decoded with it: leave it out"
            )
        prompt = self._split_prompt_latents(rules, ids, kwargs)
        ends = kwargs.get("eos_token_id", (generation_config or self.generation_config).eos_token_id)
        ends = () if ends is None else tuple(torch.as_tensor(ends).flatten().tolist())
        mask = kwargs.get("attention_mask")
        # As in transformers: ids shorter than their mask are those behind a cache alone.
        whole = ids if ids is not None and (mask is None or mask.shape == ids.shape) else None
        feedback = LatentFeedback(rules, self._compose_transform(latent_transform), prompt, ends, whole)
        has_grid = kwargs.get("image_grid_thw") is not None or kwargs.get("video_grid_thw") is not None
        if has_grid and ids is not None and kwargs.get("mm_token_type_ids") is None:
            kwargs["mm_token_type_ids"] = token_types(ids, self.config)
        first, last = AnswerLogitsProcessor(feedback), LatentLogitsProcessor(rules, feedback)
        processors = LogitsProcessorList([first, *(logits_processor or ()), last])
        output = super().generate(inputs, generation_config, processors, latent_feedback=feedback, **kwargs)
        if not isinstance(output, ModelOutput):
            return output
        return LatentGenerateOutput(**output, latent_embeds=feedback.collect(output.sequences))

    def _compose_transform(self, transform: LatentTransform | None) -> LatentTransform | None:
        """Compose the transform of states before they are fed back: norm by the configuration, then `transform`."""
        if self.config.latent_norm == "none":
            return transform
        return lambda states: self.to_feedback(states) if transform is None else transform(self.to_feedback(states))

    def _split_prompt_latents(self, rules: LatentRules, ids: torch.Tensor | None, kwargs: dict) -> list[torch.Tensor]:
        """The latents of each prompt that are not in a cache yet, split from the packed ones."""
        embeds = kwargs.get("latent_embeds")
        if ids is None:
            inputs_embeds = kwargs.get("inputs_embeds")
            counts = [0] * (1 if inputs_embeds is None else inputs_embeds.shape[0])
        else:
            cache = kwargs.get(CACHE_NAME)
            past = 0 if cache is None else cache.get_seq_length()
            mask = kwargs.get("attention_mask")
            # As in transformers: ids shorter than their mask are those behind the cache alone.
            new = ids if mask is not None and mask.shape[1] > ids.shape[1] else ids[:, past:]
            counts = (new == rules.pad).sum(1).tolist()
        if embeds is None:
            if any(counts):
                raise InputError(
                    f"the prompts hold {sum(counts)} latent pads: give their vectors as latent_embeds, packed to "
                    "(latents, hidden) row after row"
                )
            embeds = torch.empty(0, self.config.get_text_config().hidden_size, device=self.device, dtype=self.dtype)
        if embeds.dim() != 2 or embeds.shape[0] != sum(counts):
            raise InputError(f"the prompts hold {sum(counts)} latent pads but latent_embeds is {tuple(embeds.shape)}")
        return list(embeds.split(counts))

    def _validate_generation_mode(self, generation_mode, generation_config, generation_mode_kwargs):
        # Beams would not carry a row's state along, assisted decoding verifies latents that it has not computed.
        if generation_mode not in self._supported_generation_modes:
            raise InputError(
                f"latents cannot be decoded by {generation_mode.value}: use greedy decoding or sampling (num_beams=1, "
                "no assistant)"
            )
        if generation_config.use_cache is False:
            raise InputError("latents cannot be decoded with use_cache=False: leave the cache on")
        if self.config.answer_sees == "latents" and generation_config.cache_implementation not in (None, "dynamic"):
            raise InputError(
                f'answer_sees is "latents", which cannot drop columns from a {generation_config.cache_implementation} '
                "cache: leave cache_implementation out"
            )
        for name, neutral in (("guidance_scale", 1), ("prefill_chunk_size", None)):
            if getattr(generation_config, name, None) not in (None, neutral):
                raise InputError(
                    f"latents cannot be decoded with {name}, whose forward knows no latents: leave it out"
                )
        super()._validate_generation_mode(generation_mode, generation_config, generation_mode_kwargs)

    def generate_batch(self, *args, **kwargs):
        """Reject continuous batching, which takes token ids alone.

        Raises:
            InputError: Always.
        """
        raise InputError("latents cannot be decoded by generate_batch, which takes ids alone: use generate")

    def prepare_inputs_for_generation(
        self, input_ids, *args, inputs_embeds=None, latent_feedback=None, **kwargs
    ) -> dict[str, Any]:
        """transformers' own, without our record of the call, which `forward` does not need.

        `generate` takes `inputs_embeds` from models that name it here.
        """
        if latent_feedback is not None and self.config.answer_sees == "latents":
            kwargs["roles"] = self._answer_roles(input_ids, latent_feedback, kwargs)
        inputs = super().prepare_inputs_for_generation(input_ids, *args, inputs_embeds=inputs_embeds, **kwargs)
        if not kwargs.get("is_first_iteration") and kwargs.get("use_cache", True):
            inputs.pop("mm_encoder_outputs", None)  # versions that do not know it pass it on to every step
        return inputs

    def _answer_roles(self, ids: torch.LongTensor, feedback: LatentFeedback, kwargs: dict) -> torch.LongTensor:
        """The roles of all columns of the next pass; the cache and its mask lose what no answer sees any more."""
        mask, cache = kwargs.get("attention_mask"), kwargs.get(CACHE_NAME)
        if feedback.columns is None:
            prompt = feedback.prompt_ids
            if prompt is None:
                raise InputError(
                    'answer_sees is "latents", which depends on all ids: give generate the whole prompts as input_ids'
                )
            prompt = prompt.repeat_interleave(len(ids) // len(prompt), dim=0)
            feedback.columns = AnswerColumns.of_prompts(self.config, prompt, mask, feedback.ends)
            return feedback.columns.roles
        feedback.columns.advance(ids[:, -1:])
        places = feedback.columns.drop_unseen(cache.get_seq_length())
        if places is not None:
            select_columns(cache, places)
            cache.cropped = True
        kwargs["attention_mask"] = None  # padding is a role, and after a drop the mask has other columns
        return feedback.columns.roles

    def _expand_inputs_for_generation(self, expand_size=1, is_encoder_decoder=False, input_ids=None, **model_kwargs):
        if model_kwargs.get("latent_embeds") is not None and expand_size > 1:
            # Packed latents belong to rows by their number, so rows must be repeated as wholes.
            prompt = model_kwargs["latent_feedback"].prompt
            model_kwargs.pop("latent_embeds")
            packed = torch.cat([latents for latents in prompt for _ in range(expand_size)])
        else:
            packed = model_kwargs.pop("latent_embeds", None)
        input_ids, model_kwargs = super()._expand_inputs_for_generation(
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **model_kwargs
        )
        if packed is not None:
            model_kwargs["latent_embeds"] = packed
        return input_ids, model_kwargs

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, *args, **kwargs) -> dict[str, Any]:
        model_kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *args, **kwargs)
        model_kwargs["latent_embeds"] = model_kwargs["latent_feedback"].feed(outputs.last_hidden_state[:, -1:])
        return model_kwargs
