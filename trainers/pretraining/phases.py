"""Pretrain the tiny backbone in phases; phases that were done before an interruption are kept."""

import dataclasses
import json
from pathlib import Path

import torch
from transformers import set_seed

from ...dataset_builders.sources.world_descriptions import (
    described_clips,
    make_option_text,
    make_scene_text,
    world_texts,
)
from ...modeling import FourDThinkerForConditionalGeneration, load_model
from ...modeling.atomic import atomic_dir, scratch_dir
from ...modeling.errors import InputError
from ...modeling.file_names import TRAINING_LOG
from ...modeling.tiny.qwen2_5_vl import (
    TINY_MAX_PIXELS,
    TINY_VOCAB_SIZE,
    build_processor,
    build_tokenizer,
    tiny_backbone_config,
)
from ..common.differences import describe_differences
from .batches import PretrainingBatches
from .perception import teach_tower
from .pretraining import PretrainingConfig, pretrain


def retrain(config: PretrainingConfig, checkpoints: Path) -> Path:
    """Train every leg that `checkpoints` does not hold yet.

    Args:
        config ([`PretrainingConfig`]): How.
        checkpoints (`Path`): Folder with one model a leg.

    Returns:
        `Path`: The last leg's model, processor and log.

    Raises:
        InputError: If `checkpoints` holds legs of another configuration.
    """
    before = None
    for leg in range(len(config.steps)):
        folder = checkpoints / f"leg-{leg + 1}"
        if folder.exists():
            if difference := describe_differences(_result(_log(folder)["config"]), _result(_plain(config))):
                raise InputError(
                    f"{checkpoints} holds legs with other settings: {difference}; set that back, or name another "
                    "--output"
                )
            print(f"leg {leg + 1} is in {folder}")
        else:
            with atomic_dir(folder) as building:
                _train_leg(config, leg, before, building)
        before = folder
    return folder


def _train_leg(config: PretrainingConfig, leg: int, before: Path | None, folder: Path) -> None:
    seed, steps = config.seed + leg, config.steps[leg]
    set_seed(seed)
    clips = described_clips(config.clips, seed, config.workers)
    if before is None:
        tokenizer = build_tokenizer(world_texts(clips), TINY_VOCAB_SIZE)
        processor = build_processor(tokenizer, max_pixels=TINY_MAX_PIXELS)
        model = FourDThinkerForConditionalGeneration(tiny_backbone_config(tokenizer))
        seen = [clip.rgb for clip in clips], [clip.cells for clip in clips]
        history = teach_tower(model.model.visual, processor.video_processor, *seen, steps=config.perception_steps)
    else:
        model, processor = load_model(before, dtype=torch.float32)
        history = []
    readings = {"options": make_option_text, "scene": make_scene_text}
    batches = PretrainingBatches(clips, readings, processor, steps, config.batch_size, seed)
    with scratch_dir("pretraining") as scratch:
        history += pretrain(model, batches, str(scratch), config, steps)
    model.to(torch.bfloat16).save_pretrained(folder)
    processor.save_pretrained(folder)
    earlier = [] if before is None else _log(before)["log_history"]
    log = {"config": _plain(config), "log_history": [*earlier, *({**entry, "leg": leg + 1} for entry in history)]}
    (folder / TRAINING_LOG).write_text(json.dumps(log, indent=1) + "\n", encoding="utf-8")


def _result(config: dict) -> dict:
    """Without what changes no weight."""
    return {name: value for name, value in config.items() if name != "workers"}


def _plain(config: PretrainingConfig) -> dict:
    """As JSON gives it back."""
    return {**dataclasses.asdict(config), "steps": list(config.steps)}


def _log(folder: Path) -> dict:
    return json.loads((folder / TRAINING_LOG).read_text(encoding="utf-8"))
