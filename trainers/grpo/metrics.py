"""Metrics of a 4DRL run beside TRL's own: latent blocks, and seconds per part of a step."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from ...modeling.latent_rules import LatentRules


def share_of_equal_groups(rewards: torch.Tensor, weights: torch.Tensor, size: int) -> float:
    """Share of groups whose completions all earned the same, which no policy learns from.

    TRL compares a group's standard deviation with 0, which in fp32 that of eight times 1.2 is not.

    Args:
        rewards (`torch.Tensor` of shape `(completions, rewards)`): What each reward gave; NaN where it gave nothing.
        weights (`torch.Tensor` of shape `(rewards,)`): Of the rewards.
        size (`int`): Completions of a group, which stand together.
    """
    earned = (rewards * weights.to(rewards.device)).nansum(1).view(-1, size)
    return torch.isclose(earned, earned[:, :1]).all(1).float().mean().item()


class GRPOMetrics:
    """Counts and seconds since the last log.

    Args:
        accelerator (`Accelerator`): Gathers the processes' counts.
        rules ([`LatentRules`]): What a whole block is.
    """

    def __init__(self, accelerator: Accelerator, rules: LatentRules):
        self.accelerator = accelerator
        self._start = rules.start
        self._whole = [rules.start, *[rules.pad] * rules.size, rules.end]
        self._counts = torch.zeros(5)
        self._seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the seconds inside for `"rollout"` or `"scoring"`."""
        started = self._now()
        try:
            yield
        finally:
            self._seconds[part] += self._now() - started

    def add(self, completions: Sequence[Sequence[int]]) -> None:
        """Count the token ids of some completions, of which each ends with its turn or is cut off."""
        for ids in completions:
            starts = [place for place, token in enumerate(ids) if token == self._start]
            size = len(self._whole)
            whole = sum(list(ids[place : place + size]) == self._whole for place in starts)
            self._counts += torch.tensor([1, len(ids), bool(starts), len(starts), whole])

    def read(self, step_seconds: Sequence[float]) -> dict[str, float]:
        """The means since the last call, which starts a new account; on every process at once.

        Args:
            step_seconds (`Sequence[float]`): How long each training step took; none in an evaluation.

        Returns:
            `dict[str, float]`: `latents/blocks_per_completion`; the shares `latents/completions_with_blocks` and
            `latents/whole_blocks`, of start, pads and end; `rollout_seconds` and `scoring_seconds` of a step, or of a
            whole evaluation, as a mean of the processes; and `tokens_per_second`, the tokens of all completions,
            latents among them, over the time of whole steps.
        """
        if not self._counts.any() and not self._seconds:
            return {}
        seconds = torch.tensor([self._seconds["rollout"], self._seconds["scoring"]])
        mine = torch.cat([self._counts, seconds]).to(self.accelerator.device)
        rows = self.accelerator.gather(mine[None]).cpu()
        completions, tokens, with_blocks, blocks, whole, *_ = rows.sum(0).tolist()
        rollout, scoring = rows[:, -2:].mean(0).tolist()
        self._counts.zero_()
        self._seconds.clear()
        steps = max(len(step_seconds), 1)
        metrics = {"rollout_seconds": rollout / steps, "scoring_seconds": scoring / steps}
        if completions:
            metrics["latents/blocks_per_completion"] = blocks / completions
            metrics["latents/completions_with_blocks"] = with_blocks / completions
        if blocks:
            metrics["latents/whole_blocks"] = whole / blocks
        if step_seconds:
            metrics["tokens_per_second"] = tokens / sum(step_seconds)
        return metrics

    def _now(self) -> float:
        if self.accelerator.device.type == "cuda":  # whose work goes on after a call returns
            torch.cuda.synchronize(self.accelerator.device)
        return time.perf_counter()
