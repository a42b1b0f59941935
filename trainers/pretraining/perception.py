"""Teach the tiny vision tower to see, from what the renderer knows of every cell of a frame.

Descriptions alone hardly teach a tower of random weights: thousands of steps pass before the language model finds an
object by them, and motion it does not find at all. A linear read-out of each token, trained on what the token's cells
show, finds contents and depth within a hundred steps and motion within a thousand. The read-out is dropped afterwards.
"""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import l1_loss, log_softmax
from transformers import BaseVideoProcessor, PreTrainedModel, get_cosine_schedule_with_warmup

from ...dataset_builders.world.cells import CELL_NUMBERS, CONTENTS

_TYPICAL_LOG_DEPTH = 2.3
_PROGRESS_STEPS = 200


def teach_tower(
    tower: PreTrainedModel,
    video_processor: BaseVideoProcessor,
    frames: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    *,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 2e-3,
) -> list[dict[str, float]]:
    """Train the tower's weights and a linear read-out, which is thrown away.

    The loss is the Kullback-Leibler divergence of each cell's contents, plus the mean absolute errors of its log depth
    and of its motion in pixels.

    Args:
        tower: A Qwen2.5-VL vision tower that merges 2 x 2 patches.
        video_processor: What makes its pixels.
        frames (`Sequence[np.ndarray]` of shape `(frames, side, side, 3)`, uint8): One clip each.
        targets (`Sequence[np.ndarray]`): For each clip, what `cell_targets` gave, with one cell for each patch.
        steps, batch_size (`int`): Optimizer steps and clips in each, in order, from the first again after the last.
        learning_rate (`float`): Peak; linear warm-up over 5 % and cosine to zero.

    Returns:
        `list[dict[str, float]]`: Each 200 steps the mean of each part of the loss.
    """
    tower.train().requires_grad_(True)
    read_out = torch.nn.Linear(tower.config.out_hidden_size, 4 * CELL_NUMBERS)
    parameters = [*tower.parameters(), *read_out.parameters()]
    optimizer = torch.optim.AdamW(parameters, learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = get_cosine_schedule_with_warmup(optimizer, steps // 20, steps)
    log, parts = [], []
    for step in range(steps):
        chosen = (step * batch_size + np.arange(batch_size)) % len(frames)
        videos = [[Image.fromarray(frame) for frame in frames[index]] for index in chosen]
        batch = video_processor(videos=videos, do_sample_frames=False, return_tensors="pt")
        tokens = tower(batch["pixel_values_videos"], grid_thw=batch["video_grid_thw"]).pooler_output
        losses = cell_losses(read_out(tokens), by_token(np.stack([targets[index] for index in chosen])))
        sum(losses).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        parts.append([float(part.detach()) for part in losses])
        if (step + 1) % _PROGRESS_STEPS == 0:
            means = dict(zip(("contents", "log_depth", "motion"), np.mean(parts, axis=0).tolist(), strict=True))
            log.append({"step": step + 1, **{f"perception_{name}": round(mean, 4) for name, mean in means.items()}})
            print(log[-1], flush=True)
            parts.clear()
    return log


def by_token(targets: np.ndarray) -> torch.Tensor:
    """Group the targets of cells as the tower merges its patches.

    Args:
        targets (`np.ndarray` of shape `(clips, pairs, cells, cells, CELL_NUMBERS)`).

    Returns:
        `torch.Tensor` of shape `(tokens, 4, CELL_NUMBERS)`: Tokens in the tower's order.
    """
    clips, pairs = targets.shape[:2]
    half = targets.shape[2] // 2
    cells = torch.from_numpy(targets.astype(np.float32)).reshape(clips, pairs, half, 2, half, 2, -1)
    return cells.permute(0, 1, 2, 4, 3, 5, 6).reshape(clips * pairs * half * half, 4, -1)


def cell_losses(read: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """How far what is read from the tokens, `(tokens, 4 * CELL_NUMBERS)`, is from contents, log depth and motion."""
    read, kinds = read.unflatten(-1, (4, CELL_NUMBERS)), len(CONTENTS)
    shares = targets[..., :kinds]
    divergence = shares * (shares.clamp_min(1e-6).log() - log_softmax(read[..., :kinds], dim=-1))
    depth, motion = read[..., kinds] + _TYPICAL_LOG_DEPTH, read[..., kinds + 1 :]
    return (
        divergence.sum(-1).mean(),
        l1_loss(depth, targets[..., kinds]),
        l1_loss(motion, targets[..., kinds + 1 :]),
    )
