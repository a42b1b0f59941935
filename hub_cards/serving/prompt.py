"""A conversation as the model takes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from transformers import BatchFeature

from ...modeling.clip import Clip
from ...modeling.processing import encode, fit_frame, pixel_limits
from ...modeling.prompts import question_text
from ...modeling.video_messages import append_prompt_suffix, drop_videos, read_clips, read_images, shows_video
from .events import InvalidRequest
from .settings import Limits

# Of the model family's own default for images; videos have the published limit for frames.
_IMAGE_TOKENS = 1280
_SHOWN_SIDE = 512  # pixels a side of what is kept for heat maps


@dataclass
class Prompt:
    """One encoded conversation.

    Attributes:
        inputs (`BatchFeature`): Model input of one row, on the CPU.
        clips (`list[Clip]`): Its videos, in order, small enough to be kept and shown.
        images (`list[Image]`): Its images, in order, too.
    """

    inputs: BatchFeature
    clips: list[Clip]
    images: list[Image.Image]

    @property
    def length(self) -> int:
        """Tokens, visual ones included."""
        return self.inputs["input_ids"].shape[1]

    def without_pixels(self) -> "Prompt":
        """What an answer still needs of it once the vision tower has run: pixels are by far the most of a prompt."""
        kept = {name: value for name, value in self.inputs.items() if not name.startswith("pixel_values")}
        return Prompt(BatchFeature(kept), self.clips, self.images)


def encode_prompt(processor, messages: Sequence[Mapping[str, Any]], limits: Limits) -> Prompt:
    """Encode a conversation as in training; with a video the last user text gets the prompt suffix.

    Args:
        processor: The model's processor.
        messages (`Sequence[Mapping]`): As for `apply_chat_template`; a video block holds a [`Clip`], an image block
            an image. No special token may stand in the texts.
        limits ([`Limits`]): Longest prompt.

    Raises:
        InvalidRequest: If it is longer.
        InputError: If media or texts cannot be encoded.
    """
    clips = read_clips(messages)
    _, side = pixel_limits(processor.image_processor)
    images = [fit_frame(image, _IMAGE_TOKENS * side**2, side) for image in read_images(messages)]
    if shows_video(messages):
        messages = append_prompt_suffix(messages)
    bare = drop_videos(messages)
    text = processor.apply_chat_template(bare, add_prompt_suffix=False, add_generation_prompt=True)
    inputs = encode(processor, [text], clips, images=images)
    shown = [Clip([_shrink(frame) for frame in clip.frames], clip.timestamps) for clip in clips]
    prompt = Prompt(inputs, shown, [_shrink(image) for image in images])
    if prompt.length > limits.prompt_tokens:
        raise InvalidRequest(
            f"the prompt has {prompt.length} tokens, at most {limits.prompt_tokens} are taken: give fewer or smaller "
            "frames, or less text",
            "messages",
            "context_length_exceeded",
        )
    return prompt


def encode_question(processor, clip: Clip, question: str, options: Sequence[str], limits: Limits) -> Prompt:
    """Encode one question about a clip; further arguments and errors as of [`encode_prompt`].

    Args:
        clip ([`Clip`]): What is shown.
        question (`str`): What is asked, without options.
        options (`Sequence[str]`): Two to ten answers to choose from, or none.

    Raises:
        InputError: Also if question or options are no texts for a prompt.
    """
    words = {"type": "text", "text": question_text(question, options)}
    content = [{"type": "video", "video": clip}, words]
    return encode_prompt(processor, [{"role": "user", "content": content}], limits)


def _shrink(image: Image.Image) -> Image.Image:
    if max(image.size) <= _SHOWN_SIDE:
        return image
    small = image.copy()
    small.thumbnail((_SHOWN_SIDE, _SHOWN_SIDE))
    return small
