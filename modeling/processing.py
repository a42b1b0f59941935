"""Encode frames, timestamps and a question to model input, for training, RL and evaluation alike."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    BatchFeature,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen2VLVideoProcessor,
    Qwen3VLVideoProcessor,
)

from .clip import Clip, sizes_fault
from .errors import InputError
from .images import UNREADABLE, decode_image
from .prompts import video_message
from .response_template import RESPONSE_TEMPLATE
from .row_rules import name_row

# Pixel limits of the published recipe (4DThinker, dift/src): at most 256 patches of 28 x 28 a frame, at least one.
MAX_PIXELS = 256 * 28 * 28
MIN_PIXELS = 28 * 28
# How the published evaluation samples a video: longer ones give so many frames, evenly spread.
FRAMES_PER_SECOND = 1.0
MAX_FRAMES = 50
# Frames are fitted here. Versions of transformers that can cap them as well have announced to do so by default.
NO_CAP = (
    {"cap_pixels_per_frame": False}
    if "cap_pixels_per_frame" in Qwen2VLVideoProcessor.valid_kwargs.__annotations__
    else {}
)


def row_images(row: Mapping, column: str) -> list[Image.Image]:
    """The RGB images of one column of a dataset row; raises as [`row_image`] does."""
    return [row_image(row, column, number) for number in range(len(row[column] or ()))]


def row_image(row: Mapping, column: str, number: int) -> Image.Image:
    """One RGB image of a column of a dataset row, counted from 0.

    Raises:
        InputError: If it cannot be decoded; the line names the row, the image and its file.
    """
    image = row[column][number]
    try:
        return decode_image(image)
    except UNREADABLE as error:
        file = image.get("path") if isinstance(image, Mapping) else getattr(image, "filename", None)
        where = f"row {row['id']}: " if "id" in row else ""
        named = f" ({file})" if file else ""
        raise InputError(
            f"{where}{column} {number + 1}{named} cannot be decoded ({error}): make it again, or leave the row out"
        ) from error


def row_clip(row: Mapping) -> Clip:
    """The clip of a dataset row (columns `frames` and `timestamps`).

    Raises:
        InputError: As [`row_image`] and [`Clip`] do; the line names the row.
    """
    frames = row_images(row, "frames")
    with name_row(row):
        return Clip(frames, row["timestamps"] and list(row["timestamps"]))


def fit_frame(frame: Image.Image, max_pixels: int = MAX_PIXELS, side_multiple: int = 28) -> Image.Image:
    """Shrink a frame of more than `max_pixels` pixels to sides that are multiples of 28 (the published collator).

    Args:
        frame (`PIL.Image.Image`): A frame of any size.
        max_pixels (`int`, *optional*, defaults to 200704): Smaller frames stay as they are.
        side_multiple (`int`, *optional*, defaults to 28): Pixels a side of what becomes one token; 32 for Qwen3-VL.
    """
    pixels = frame.width * frame.height
    if pixels <= max_pixels:
        return frame
    scale = (max_pixels / pixels) ** 0.5
    width, height = (max(side_multiple, int(side * scale) // side_multiple * side_multiple) for side in frame.size)
    return frame.resize((width, height), Image.Resampling.LANCZOS)


def reach_token(frame: Image.Image, side: int) -> Image.Image:
    """Enlarge a frame, in proportion, whose shorter side is below that of one token.

    Newer Qwen3-VL processors do so themselves, older ones raise.

    Args:
        frame (`PIL.Image.Image`): A frame of any size.
        side (`int`): Pixels a side of what becomes one token.
    """
    scale = side / min(frame.size)
    if scale <= 1:
        return frame
    width, height = (max(side, int(length * scale)) for length in frame.size)
    return frame.resize((width, height), Image.Resampling.BICUBIC)


def pixel_limits(component, max_pixels: int | None = None) -> tuple[int, int]:
    """Pixels of a frame at most, and the pixels a side of one token.

    Args:
        component: An image or video processor; a limit of its own that is lower holds.
        max_pixels (`int`, *optional*): The limit; by default the published one.
    """
    return min(max_pixels or MAX_PIXELS, component.size["longest_edge"]), component.patch_size * component.merge_size


def conversation_text(
    processor: ProcessorMixin, question: str, options: Sequence[str] = (), response: str | None = None
) -> str:
    """The chat template applied to one video question, up to where the model speaks or with its response.

    Args:
        processor: A processor or tokenizer with a Qwen-VL chat template.
        question (`str`): The question, without options in it.
        options (`Sequence[str]`, *optional*): Two to ten option texts, or none.
        response (`str`, *optional*): What the model says, its imagery marks already expanded to latent blocks.
    """
    prompt = processor.apply_chat_template(
        video_message(question, options), tokenize=False, add_generation_prompt=True
    )
    return prompt if response is None else f"{prompt}{response}<|im_end|>\n"


def prepare_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Settle how a tokenizer pads and how responses are split, here and wherever it is opened after it was saved.

    Shorter rows of a batch are filled on the left: a row that is padded on its right generates after the padding, and
    another answer than alone. Pipelines and servers split a response into reasoning and answer, see
    [`RESPONSE_TEMPLATE`].
    """
    settings = {"padding_side": "left", "response_template": RESPONSE_TEMPLATE}
    for name, value in settings.items():
        setattr(tokenizer, name, value)
    tokenizer.init_kwargs.update(settings)  # which are what every version saves


def row_prompt(processor: ProcessorMixin, row: Mapping, response: str | None = None) -> str:
    """What [`conversation_text`] gives for a dataset row (columns `question` and `options`).

    Raises:
        InputError: If they are no texts for a prompt; the line names the row.
    """
    with name_row(row):
        return conversation_text(processor, row["question"], row["options"], response)


def encode(
    processor: ProcessorMixin,
    texts: Sequence[str],
    clips: Sequence[Clip],
    padding_side: str = "left",
    images: Sequence[Image.Image] = (),
    max_pixels: int | None = None,
) -> BatchFeature:
    """One processor pass over a batch of conversations, each with any number of videos and images.

    Args:
        processor: A Qwen2.5-VL or Qwen3-VL processor.
        texts (`Sequence[str]`): Conversations with a placeholder for each video and each image.
        clips (`Sequence[Clip]`): Their videos, text after text.
        padding_side (`str`, *optional*, defaults to `"left"`): Where shorter rows are filled.
        images (`Sequence[PIL.Image.Image]`, *optional*): Their images, text after text.
        max_pixels (`int`, *optional*): Pixels of a frame or an image at most; by default the published limit for
            frames, and for images the processor's own.

    Returns:
        `BatchFeature`: `input_ids`, `attention_mask` and `mm_token_type_ids` of shape `(batch, length)`,
        `pixel_values_videos` `(patches, channels · patch pixels)`, `video_grid_thw` `(videos, 3)` in patches, and
        for Qwen2.5-VL `second_per_grid_ts` `(videos,)`, the seconds that one temporal grid spans at the clips' true
        sampling rate. Qwen3-VL's processor writes the time of each grid into the text instead. With images
        `pixel_values` and `image_grid_thw` too.
    """
    media: dict[str, Any] = {}
    if clips:
        media |= _video_arguments(processor.video_processor, clips, max_pixels)
    if images:
        limit, side = pixel_limits(processor.image_processor, max_pixels)
        media["images"] = [fit_frame(image, limit, side) if max_pixels else image for image in images]
    return processor(
        text=list(texts),
        padding=True,
        padding_side=padding_side,
        return_mm_token_type_ids=True,
        return_tensors="pt",
        **media,
    )


def _video_arguments(video_processor, clips: Sequence[Clip], max_pixels: int | None) -> dict[str, Any]:
    limit, side = pixel_limits(video_processor, max_pixels)
    # Qwen3-VL's video processor spreads its pixels over all frames, Qwen2.5-VL's speaks of one.
    counted = isinstance(video_processor, Qwen3VLVideoProcessor)
    longest = limit * (max(len(clip.frames) for clip in clips) + 1) if counted else limit
    videos, metadata = [], []
    for clip in clips:
        frames = [fit_frame(frame, limit, side) for frame in clip.frames]
        frames = [reach_token(frame, side) for frame in frames] if counted else frames
        numbers = list(range(len(frames)))
        if len(frames) == 1:  # shown twice: one processor does so itself, the other raises on a lone frame
            frames, numbers = frames * 2, numbers * 2
        videos.append(frames)
        metadata.append({"fps": clip.frames_per_second, "total_num_frames": len(frames), "frames_indices": numbers})
    size = {"shortest_edge": MIN_PIXELS, "longest_edge": longest}
    settings = {"size": size, "do_sample_frames": False, "video_metadata": metadata, **NO_CAP}
    return {"videos": videos, "videos_kwargs": settings}


def encode_imagery(
    processor: ProcessorMixin,
    images: Sequence[Image.Image],
    masks: Sequence[Image.Image] | None = None,
    latent_size: int = 1,
) -> BatchFeature:
    """One image-processor pass over imagery frames.

    Args:
        processor: A Qwen2.5-VL or Qwen3-VL processor.
        images (`Sequence[PIL.Image.Image]`): The frames.
        masks (`Sequence[PIL.Image.Image]`, *optional*): For each a mask of its shape, white where it shows what is
            meant.
        latent_size (`int`, *optional*, defaults to 1): Latents in a block. A frame that would have fewer tokens than
            these is enlarged, beyond the processor's own limit if that is so low.

    Returns:
        `BatchFeature`: `pixel_values_latent` and `image_grid_thw_latent`, as the model's `forward` takes them; and
        with masks `latent_masks` of shape `(visual tokens,)`.
    """
    limit, side = pixel_limits(processor.image_processor)
    smallest = latent_size * side**2
    # Resizing rounds both sides down where a frame is too large: at most half of its tokens go.
    limit = max(limit, 2 * smallest)
    size = {"shortest_edge": max(MIN_PIXELS, smallest), "longest_edge": limit}
    frames = [reach_token(fit_frame(image, limit, side), side) for image in images]
    encoded = processor.image_processor(images=frames, size=size, return_tensors="pt")
    batch = BatchFeature(
        {"pixel_values_latent": encoded["pixel_values"], "image_grid_thw_latent": encoded["image_grid_thw"]}
    )
    if masks is not None:
        sizes = (encoded["image_grid_thw"][:, 1:] // processor.image_processor.merge_size).tolist()
        regions = [_masked_tokens(mask, *size) for mask, size in zip(masks, sizes, strict=True)]
        batch["latent_masks"] = torch.cat(regions)
    return batch


def _masked_tokens(mask: Image.Image, rows: int, columns: int) -> torch.BoolTensor:
    """The tokens, in raster order, that a mask covers at least half as much as the one it covers most.

    So that a small thing, which covers no token by half, still has one.
    """
    area = np.asarray(mask.convert("L").convert("F").resize((columns, rows), Image.Resampling.BOX)).ravel()
    return torch.from_numpy((area > 0) & (area >= area.max() / 2))


def decode_response(processor: ProcessorMixin, ids) -> str:
    """Decode generated ids: latent tokens stay, padding and the end of the turn go.

    Args:
        ids (`torch.LongTensor` of shape `(length,)` or `list[int]`): The generated part of one row.
    """
    text = processor.tokenizer.decode(ids, skip_special_tokens=False)
    for marker in ("<|im_end|>", "<|endoftext|>"):
        text = text.split(marker)[0]
    return text.strip()


__all__ = [
    "FRAMES_PER_SECOND",
    "MAX_FRAMES",
    "MAX_PIXELS",
    "MIN_PIXELS",
    "Clip",
    "conversation_text",
    "decode_image",
    "decode_response",
    "encode",
    "encode_imagery",
    "fit_frame",
    "pixel_limits",
    "prepare_tokenizer",
    "row_clip",
    "row_image",
    "row_images",
    "row_prompt",
    "sizes_fault",
]
