"""One clip through a mask model: a session that holds the frames on the CPU and is given up at its end."""

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from .checkpoints import KINDS, Checkpoint
from .local_kernels import use_local_kernels
from .masklets import MAX_OBJECTS, Masklet, encode_masks

_MAX_TOKENS = 32  # positions of SAM 3's text model, its marks of beginning and end included


class MaskModel(NamedTuple):
    """A loaded model with its processor and device."""

    kind: str
    model: Any
    processor: Any
    device: Any


@lru_cache(maxsize=1)
def load_mask_model(checkpoint: Checkpoint) -> MaskModel:
    """Load a mask model once for each process: on the GPU in bfloat16, or on the CPU in float32."""
    import torch
    import transformers

    kind = KINDS[checkpoint.kind]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = getattr(transformers, kind.model).from_pretrained(checkpoint.folder, dtype=dtype, use_safetensors=True)
    if kind.finds_names:
        use_local_kernels()
        model.config.max_num_objects = model.max_num_objects = MAX_OBJECTS
    processor = getattr(transformers, kind.processor).from_pretrained(checkpoint.folder)
    return MaskModel(checkpoint.kind, model.to(device).eval(), processor, device)


def segment_by_names(loaded: MaskModel, frames: Sequence[Image.Image], names: Sequence[str]) -> list[Masklet]:
    """Find and follow all objects of some names, in one session (SAM 3).

    Args:
        loaded ([`MaskModel`]): One that finds names.
        frames (`Sequence[PIL.Image.Image]`): Dense frames, 12 a second or more.
        names (`Sequence[str]`): What to look for; of a long one the model reads the first 32 tokens.

    Returns:
        `list[Masklet]`: Each with the name that it was found by.
    """
    prompts = {}
    for name in names:
        prompts.setdefault(cut_name(loaded.processor.tokenizer, name), name)
    found: dict[int, Masklet] = {}
    with _session(loaded, frames) as session:
        loaded.processor.add_text_prompt(session, list(prompts))
        for output in loaded.model.propagate_in_video_iterator(session):
            shown = loaded.processor.postprocess_outputs(session, output)
            called = {number: prompts[text] for text, ids in shown["prompt_to_obj_ids"].items() for number in ids}
            numbers, scores = shown["object_ids"].tolist(), shown["scores"].tolist()
            masks = encode_masks(shown["masks"].cpu().numpy())
            for number, score, mask in zip(numbers, scores, masks, strict=True):
                if mask is not None:
                    masklet = found.setdefault(number, Masklet(called[number], {}))
                    masklet.masks[output.frame_idx], masklet.scores[output.frame_idx] = mask, score
    return list(found.values())


def follow_seeds(
    loaded: MaskModel, frames: Sequence[Image.Image], seeds: Sequence[Mapping[int, np.ndarray]], names: Sequence[str]
) -> list[Masklet]:
    """Follow objects from one mask each, forward and back (SAM 2, EdgeTAM, SAM 3's tracker).

    Args:
        loaded ([`MaskModel`]): One that is seeded.
        frames (`Sequence[PIL.Image.Image]`): Dense frames, 12 a second or more.
        seeds (`Sequence[Mapping[int, np.ndarray]]`): For each object the frames in which it may be seeded, with its
            masks `(height, width)`, bool.
        names (`Sequence[str]`): Of the objects.

    Returns:
        `list[Masklet]`: One for each seed, in their order.
    """
    found = [Masklet(name, {}) for name in names]
    with _session(loaded, frames) as session:
        for start, group in _seed_frames(seeds):
            session.reset_tracking_data()
            loaded.processor.add_inputs_to_inference_session(  # it takes the list over, and empties it
                session, frame_idx=start, obj_ids=list(group), input_masks=[seeds[number][start] for number in group]
            )
            for reverse in (False, True):
                for output in loaded.model.propagate_in_video_iterator(session, start, reverse=reverse):
                    _store(loaded, frames[0].size, output, found)
    return found


def cut_name(tokenizer: Any, name: str) -> str:
    """A name in at most 32 tokens, whole words where that is possible.

    `add_text_prompt` pads to that length and does not truncate, and the text model has no more positions.
    """
    words = name.split()
    while len(words) > 1 and len(tokenizer(" ".join(words)).input_ids) > _MAX_TOKENS:
        words.pop()
    text = " ".join(words)
    while len(text) > 1 and len(tokenizer(text).input_ids) > _MAX_TOKENS:
        text = text[:-1]
    return text


@contextmanager
def _session(loaded: MaskModel, frames: Sequence[Image.Image]) -> Iterator[Any]:
    """A session over dense frames, which are kept on the CPU; all that it holds is freed at the end."""
    import torch

    session = loaded.processor.init_video_session(
        video=list(frames),
        inference_device=loaded.device,
        processing_device="cpu",
        video_storage_device="cpu",
        dtype=loaded.model.dtype,
    )
    try:
        with torch.inference_mode():
            yield session
    finally:
        session.reset_inference_session()
        session.processed_frames = None
        del session
        gc.collect()  # outputs and sessions refer to each other
        if loaded.device.type == "cuda":
            torch.cuda.empty_cache()


def _seed_frames(seeds: Sequence[Mapping[int, np.ndarray]]) -> Iterator[tuple[int, list[int]]]:
    """Frames to begin at, each with the objects to seed there: as few passes as possible, the largest masks."""
    left = [number for number, masks in enumerate(seeds) if masks]
    while left:
        counts: dict[int, list[int]] = {}
        for number in left:
            for frame in seeds[number]:
                counts.setdefault(frame, []).append(number)
        start = max(counts, key=lambda f: (len(counts[f]), sum(seeds[number][f].sum() for number in counts[f]), -f))
        yield start, counts[start]
        left = [number for number in left if number not in counts[start]]


def _store(loaded: MaskModel, size: tuple[int, int], output: Any, found: list[Masklet]) -> None:
    logits = loaded.processor.post_process_masks([output.pred_masks.float()], [size[::-1]], binarize=False)[0]
    masks = encode_masks((logits[:, 0] > 0).cpu().numpy())
    scores = output.object_score_logits.float().sigmoid().flatten().tolist()
    for number, mask, score in zip(output.object_ids, masks, scores, strict=True):
        if mask is not None:
            found[number].masks[output.frame_idx] = mask
            found[number].scores[output.frame_idx] = score
