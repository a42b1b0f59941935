"""Metrics of a DIFT run, summed on the device and over processes, and read once per log entry."""

import resource
import time

import torch
from accelerate import Accelerator

from .answer_alignment import Alignment

_GIB = 2**30


class DIFTMetrics:
    """Sums over the batches since the last log.

    Args:
        accelerator (`Accelerator`): Gathers the processes' sums.
        latent_size (`int`): Latents in a block.
        aligns (`bool`, *optional*, defaults to `False`): Report the alignment loss.
    """

    def __init__(self, accelerator: Accelerator, latent_size: int, aligns: bool = False):
        self.accelerator, self.latent_size, self.aligns = accelerator, latent_size, aligns
        self._sums: torch.Tensor | None = None
        self._since = time.perf_counter()

    def restart(self) -> None:
        """Forget the batches and the time since the last log."""
        self._sums, self._since = None, time.perf_counter()

    def leave_out(self, seconds: float) -> None:
        """Do not count so much of the time since the last log."""
        self._since += seconds

    def add(
        self, outputs, tokens: torch.Tensor, share: float | None = None, alignment: Alignment | None = None
    ) -> None:
        """Count a batch.

        Args:
            outputs ([`LatentCausalLMOutput`]): What the model returned.
            tokens (`torch.Tensor`): Number of the batch's tokens, without padding.
            share (`float`, *optional*): What part of an optimizer step the batch is, if its losses are parts of the
                step's; without it they are means, and every supervised token and every image has the same weight.
            alignment ([`Alignment`], *optional*): Of the batch, if it has any.
        """
        nothing = torch.zeros(1, self.latent_size, device=tokens.device)
        cosine = nothing[:0] if outputs.cosine is None else outputs.cosine
        norm_ratio = nothing[:0] if outputs.norm_ratio is None else outputs.norm_ratio
        ce_share, sim_share = (share, share) if share is not None else (outputs.supervised_tokens, len(cosine))
        ce_weight, sim_weight = (1, 1) if share is not None else (ce_share, sim_share)
        counted = (
            ce_share,
            sim_share,
            outputs.ce_loss.detach() * ce_weight,
            outputs.sim_loss.detach() * sim_weight,
            tokens,
            outputs.supervised_tokens,
            outputs.correct_tokens,
            len(cosine),
            norm_ratio.sum() / self.latent_size,
            *self._count_alignment(alignment, share),
            *cosine.sum(0),
        )
        sums = torch.stack([torch.as_tensor(value, device=nothing.device).float() for value in counted])
        self._sums = sums if self._sums is None else self._sums + sums

    @staticmethod
    def _count_alignment(alignment: Alignment | None, share: float | None) -> tuple[float, torch.Tensor | float]:
        """The weight of a batch's alignment loss, and the loss with that weight."""
        if alignment is None:
            return (share or 0.0), 0.0
        loss, answers = alignment
        return (answers, loss.detach() * answers) if share is None else (share, loss.detach())

    def read(self) -> dict[str, float]:
        """The means since the last call, which starts a new account; on every process at once.

        Returns:
            `dict[str, float]`: `ce_loss`, `sim_loss` and, if trained, `alignment_loss`, not weighted;
            `mean_token_accuracy` of supervised tokens; with imagery `cosine_1`, `cosine_2`, … of each latent of a
            block with its target, and `norm_ratio`, their states' length over the targets'; `tokens_per_second`, and
            `memory_gib`, the process's peak.
        """
        if self._sums is None:
            return {}
        sums = self.accelerator.gather(self._sums[None]).sum(0).tolist()
        ce_share, sim_share, ce, sim, tokens, supervised, correct, images, norm_ratio, *sums = sums
        aligned, alignment, *cosine = sums
        now = time.perf_counter()
        metrics = {
            "ce_loss": ce / ce_share if ce_share else 0.0,
            "sim_loss": sim / sim_share if sim_share else 0.0,
            "mean_token_accuracy": correct / max(supervised, 1),
        }
        if self.aligns:
            metrics["alignment_loss"] = alignment / aligned if aligned else 0.0
        if images:
            metrics |= {f"cosine_{index}": value / images for index, value in enumerate(cosine, start=1)}
            metrics["norm_ratio"] = norm_ratio / images
        metrics |= {"tokens_per_second": tokens / (now - self._since), "memory_gib": _peak_memory() / _GIB}
        self._sums, self._since = None, now
        return metrics


def _peak_memory() -> int:
    """Bytes."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
