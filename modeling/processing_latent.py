"""Processor mixin: videos encoded as in training, the prompt suffix, readable latents."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature
from transformers.processing_utils import TextKwargs, VideosKwargs

from .errors import InputError
from .processing import decode_response, encode
from .readable_response import parse_response_text
from .tokens import LATENT_TOKENS, show_latent_blocks
from .video_messages import (
    QWEN_SIZES,
    Messages,
    append_prompt_suffix,
    drop_none,
    drop_videos,
    read_clips,
    read_images,
    shows_video,
)

_NESTED_SETTINGS = ("text_kwargs", "videos_kwargs", "common_kwargs")
_SAMPLING = ("fps", "num_frames")
_TAKEN = {*_SAMPLING, "padding", "padding_side", "return_mm_token_type_ids", "add_special_tokens"}
_STOCK_SETTINGS = {
    *(*TextKwargs.__annotations__, *VideosKwargs.__annotations__, "return_assistant_tokens_mask"),
    *QWEN_SIZES,
}
_TOKEN_FIELDS = ("input_ids", "attention_mask", "mm_token_type_ids")


class EncodedConversations(BatchFeature):
    """Model input that keeps the exact seconds of its videos when it is cast to half precision.

    A pipeline casts whatever it gets to the model's dtype; seconds rounded to bfloat16 would move the positions.
    """

    def to(self, *args, **kwargs) -> BatchFeature:
        """transformers' own, which moves and casts."""
        seconds = self.get("second_per_grid_ts")
        moved = super().to(*args, **kwargs)
        if torch.is_tensor(seconds):
            moved["second_per_grid_ts"] = seconds.to(moved["input_ids"].device)
        return moved


class LatentProcessorMixin:
    """Goes in front of a stock Qwen-VL processor."""

    def apply_chat_template(
        self,
        conversation: Messages | Sequence[Messages],
        chat_template: str | None = None,
        *,
        add_prompt_suffix: bool | None = None,
        tokenize: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The chat template applied to conversations and, with `tokenize`, their videos encoded as in training.

        Conversations without a video go through the stock method.

        Args:
            conversation (`list[dict]` or `list[list[dict]]`): One conversation or several. A video block holds the
                path of a file, or frames with their `timestamps`; see [`video_messages.read_clip`].
            chat_template (`str`, *optional*): Another template.
            add_prompt_suffix (`bool`, *optional*): Whether the last user text gets the words with which the model was
                trained to imagine, where they are missing. By default they go to conversations that hold a video.
            tokenize (`bool`, *optional*, defaults to `False`): Return model input in place of text.
            kwargs: Of the stock method (`add_generation_prompt`, `return_dict`, `return_tensors`, `padding_side`, …);
                and `fps` or `num_frames`, by which files are sampled whose block does not say it.

        Returns:
            `str` or `list[str]`; with `tokenize` the token ids, and with `return_dict` a `BatchFeature` as
            [`processing.encode`] gives it.

        Raises:
            InputError: If a video cannot be read, or a setting would encode it otherwise than in training.
        """
        batched = bool(conversation) and not isinstance(conversation[0], Mapping)
        several = list(conversation) if batched else [conversation]
        several = [drop_none(getattr(messages, "messages", messages)) for messages in several]
        several = [
            append_prompt_suffix(messages)
            if (shows_video(messages) if add_prompt_suffix is None else add_prompt_suffix)
            else messages
            for messages in several
        ]
        if tokenize and any(map(shows_video, several)):
            return self._encode_conversations(several, chat_template, **kwargs)
        unpacked = several if batched else several[0]
        return super().apply_chat_template(unpacked, chat_template, tokenize=tokenize, **kwargs)

    def _encode_conversations(
        self,
        conversations: Sequence[Messages],
        chat_template: str | None,
        return_dict: bool = False,
        return_tensors: str | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> BatchFeature | torch.Tensor | list[list[int]]:
        if return_tensors not in (None, "auto", "pt"):
            raise InputError(
                f"return_tensors is {return_tensors!r}: videos become torch tensors, so give 'pt' or None"
            )
        settings, template_variables = _split_settings({**kwargs, **(processor_kwargs or {})})
        sampling = {name: settings.get(name) for name in _SAMPLING}
        clips = [clip for messages in conversations for clip in read_clips(messages, **sampling)]
        images = [image for messages in conversations for image in read_images(messages)]
        bare = [drop_videos(messages) for messages in conversations]
        texts = super().apply_chat_template(bare, chat_template, tokenize=False, **template_variables)
        side = settings.get("padding_side") or self.tokenizer.padding_side
        batch = EncodedConversations(dict(encode(self, texts, clips, side, images)))
        if return_tensors != "pt":
            batch.update(_lists_of_tokens(batch, padded=settings.get("padding") not in (None, False)))
        return batch if return_dict else batch["input_ids"]

    def decode(self, token_ids: Any, skip_special_tokens: bool = False, **kwargs: Any) -> str | list[str]:
        """The tokenizer's own; where special tokens are skipped, a note replaces each latent block.

        Args:
            token_ids (`int`, `list[int]`, `torch.Tensor`, …): The ids of one row, or of several.
            skip_special_tokens (`bool`, *optional*, defaults to `False`): Leave special tokens out.
            kwargs: Of the tokenizer's `decode`.

        Returns:
            `str`, such as `It moves [imagery 1: 4 latents] left.`; of several rows a list.
        """
        if not skip_special_tokens:
            return super().decode(token_ids, skip_special_tokens=False, **kwargs)
        if np.ndim(token_ids) == 0:
            token_ids = [token_ids]
        if len(token_ids) and np.ndim(token_ids[0]) > 0:
            return [self.decode(row, skip_special_tokens=True, **kwargs) for row in token_ids]
        latent = set(self.tokenizer.convert_tokens_to_ids(list(LATENT_TOKENS)))
        parts = groupby(map(int, token_ids), key=latent.__contains__)
        text = show_latent_blocks(
            "".join(
                self.tokenizer.decode(list(ids), skip_special_tokens=not in_block, **kwargs) for in_block, ids in parts
            )
        )
        for token in LATENT_TOKENS:  # those that stand outside a block
            text = text.replace(token, "")
        return text

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False, **kwargs: Any) -> list[str]:
        """What [`decode`] gives for each of several rows."""
        return [self.decode(ids, skip_special_tokens=skip_special_tokens, **kwargs) for ids in sequences]

    def post_process_image_text_to_text(
        self, generated_outputs: Any, skip_special_tokens: bool = True, **kwargs: Any
    ) -> list[str]:
        """What [`decode`] gives for each generated row without special tokens; pipelines call it.

        Args:
            generated_outputs (`torch.Tensor` or `list[list[int]]`): Rows of ids, with or without their prompts.
            skip_special_tokens (`bool`, *optional*, defaults to `True`): `False` keeps those of the prompts, up to the
                header of the last turn. Pipelines ask for that to find where a response starts, see
                [`RESPONSE_TEMPLATE`]. A response has none in either case, and notes for its latent blocks.
            kwargs: Of the tokenizer's `decode`.
        """
        if skip_special_tokens:
            return self.batch_decode(generated_outputs, skip_special_tokens=True, **kwargs)
        turn = self.tokenizer.convert_tokens_to_ids("<|im_start|>")
        texts = []
        for row in generated_outputs:
            ids = [int(one) for one in row]
            start = len(ids) - ids[::-1].index(turn) if turn in ids else 0
            texts.append(
                self.decode(ids[:start], **kwargs) + self.decode(ids[start:], skip_special_tokens=True, **kwargs)
            )
        return texts

    def read_response(self, response: str | Sequence[int] | torch.Tensor) -> dict[str, Any]:
        """Parse a response of the model.

        Args:
            response (`str`, or `torch.LongTensor` of shape `(length,)`): The generated text with its special tokens,
                or the generated ids without the prompt.

        Returns:
            `dict`: `reasoning`, `answer`, `text` and `blocks`, as [`parse_response_text`] gives them.
        """
        return parse_response_text(response if isinstance(response, str) else decode_response(self, response))


def _split_settings(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the encoding, and what is left for the chat template.

    Raises:
        InputError: If one would encode a video otherwise than in training.
    """
    flat = {name: value for name, value in arguments.items() if name not in _NESTED_SETTINGS}
    for nested in _NESTED_SETTINGS:
        flat.update(arguments.get(nested) or {})
    settings = {name: flat.pop(name) for name in list(flat) if name in _TAKEN | _STOCK_SETTINGS}
    for name, value in settings.items():
        if (name not in _TAKEN and value not in (None, False)) or (name == "padding" and value == "max_length"):
            raise InputError(
                f"{name}={value!r:.80} is not taken for a video, which is encoded as in training: leave it out"
            )
    return settings, flat


def _lists_of_tokens(batch: Mapping[str, torch.Tensor], padded: bool) -> dict[str, list[list[int]]]:
    """The token fields as lists, without the padding unless it was requested."""
    kept = batch["attention_mask"].bool()
    kept = torch.ones_like(kept) if padded else kept
    return {
        name: [values[mask].tolist() for values, mask in zip(torch.as_tensor(batch[name]), kept, strict=True)]
        for name in _TOKEN_FIELDS
    }
