"""Batches for the tiny backbone: describe a clip, one of its objects or a painted frame, or answer from a text."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset
from transformers import BatchFeature, ProcessorMixin

from ...modeling.processing import Clip, encode
from ..dift.dift_collator import response_labels

DESCRIBE_CLIP = "Describe the video."
DESCRIBE_LAST = "Describe the video, the {name} last."
DESCRIBE_OBJECT = "Describe the {name}."
DESCRIBE_PAINTED = "What is painted red?"

# Motion is hardly learnt from answers alone; descriptions of everything teach it.
# Matching a statement to the letter of its option is learnt from text within minutes, and hardly from video.
_SHARES = {"clip": 0.36, "last": 0.15, "object": 0.15, "painted": 0.04, "options": 0.10, "scene": 0.20}


class PretrainingBatches(Dataset):
    """Whole batches, each of one kind.

    Args:
        clips (`Sequence`): What there is to describe, as `DescribedClip` of `dataset_builders.world_descriptions`.
        readings (`Mapping[str, Callable]`): For the kinds `options` and `scene`, which have no video, from a random
            generator to a prompt and its response.
        processor: A Qwen2.5-VL processor.
        batches (`int`): How many.
        batch_size (`int`): Samples in each.
        seed (`int`, *optional*, defaults to 0): Item `i` depends on `seed` and `i` alone.
    """

    def __init__(
        self,
        clips: Sequence[Any],
        readings: Mapping[str, Callable[[np.random.Generator], tuple[str, str]]],
        processor: ProcessorMixin,
        batches: int,
        batch_size: int,
        seed: int = 0,
    ):
        self.clips, self.readings, self.processor = clips, readings, processor
        self.batches, self.batch_size, self.seed = batches, batch_size, seed

    def __len__(self) -> int:
        return self.batches

    def __getitem__(self, index: int) -> BatchFeature:
        rng = np.random.default_rng([self.seed, index])
        kind = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
        samples: list[tuple[str, str, Clip | None]]
        if kind in self.readings:
            samples = [(*self.readings[kind](rng), None) for _ in range(self.batch_size)]
        else:
            # Walks through all the clips before any comes again.
            numbers = (index * self.batch_size + np.arange(self.batch_size)) % len(self.clips)
            samples = [_sample(self.clips[number], kind, rng) for number in numbers]
        return supervised_batch(self.processor, samples)


def supervised_batch(processor: ProcessorMixin, samples: Sequence[tuple[str, str, Clip | None]]) -> BatchFeature:
    """Encode prompts, responses and their clips, which all have or none; labels cover the responses alone."""
    texts = []
    for prompt, response, clip in samples:
        content: list[dict[str, Any]] = [{"type": "video"}] if clip is not None else []
        turn = [{"role": "user", "content": [*content, {"type": "text", "text": prompt}]}]
        opened = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        texts.append(f"{opened}{response}<|im_end|>\n")
    clips = [clip for *_, clip in samples if clip is not None]
    if clips:
        batch = encode(processor, texts, clips, padding_side="right")
    else:
        batch = processor(text=texts, padding=True, padding_side="right", return_tensors="pt")
    batch["labels"] = response_labels(processor, batch, [f"{response}<|im_end|>\n" for _, response, _ in samples])
    return batch


def _sample(clip: Any, kind: str, rng: np.random.Generator) -> tuple[str, str, Clip]:
    if kind == "painted":
        return DESCRIBE_PAINTED, clip.painted_caption, Clip([Image.fromarray(clip.painted)], [0.0])
    frames = [Image.fromarray(frame) for frame in clip.rgb]
    video = Clip(frames, [number / clip.fps for number in range(len(frames))])
    if kind in ("last", "object") and clip.objects:
        name, places, motion = clip.objects[int(rng.integers(len(clip.objects)))]
        if kind == "object":
            return DESCRIBE_OBJECT.format(name=name), f"{places} {motion}", video
        return DESCRIBE_LAST.format(name=name), f"{clip.scene(name)} {motion}", video
    return DESCRIBE_CLIP, clip.caption, video
