"""Settings of DIFT."""

from dataclasses import dataclass, field
from typing import Any

from transformers.utils import is_torch_bf16_gpu_available
from trl import SFTConfig

from ..modeling.errors import InputError
from ..modeling.latent_configuration import LATENT_NORMS, LATENT_POOLINGS


@dataclass
class DIFTConfig(SFTConfig):
    r"""
    Configuration of [`DIFTTrainer`]: TRL's [`~trl.SFTConfig`] and what latents need.

    Only the settings that are new, or whose default differs from TRL's, are listed. The defaults are the published
    recipe of DIFT (arXiv 2605.05997 and its code).

    > Parameters that control latents

    Args:
        ce_loss_weight (`float`, *optional*, defaults to `0.1`):
            Weight of the cross entropy on text.
        sim_loss_weight (`float`, *optional*, defaults to `1.0`):
            Weight of the cosine loss between hidden states and imagery targets.
        self_feed_passes (`int`, *optional*, defaults to `0`):
            0 feeds the imagery targets at the latent pads, as published: the model may then read the answer off
            imagery that it cannot produce. With n > 0 a row feeds on its own latents: n passes over the row feed
            every latent pad the state that the pass before predicted there (the first, the targets), and the loss is
            that of one more. With n at least the latents of a row, they are exactly those that it would decode.
        self_feed_gradient (`bool`, *optional*, defaults to `False`):
            Let the loss reach the last of those passes through the latents that it predicted.
        latent_norm (`str`, *optional*):
            `"match"` feeds states back at the length of the targets, `"none"` as they come; by default as the model's
            configuration says. The model keeps it.
        latent_pooling (`str`, *optional*):
            What part of an imagery frame each latent stands for: `"average"`, `"grid"` or `"region"`; by default as
            the model's configuration says. The model keeps it.
        drop_imagery (`bool`, *optional*, defaults to `False`):
            Train on the same responses without their imagery: the text-only control.

    > Parameters whose defaults differ from TRL's

    Args:
        learning_rate (`float`, *optional*, defaults to `1e-5`).
        num_train_epochs (`float`, *optional*, defaults to `1`).
        warmup_steps (`float`, *optional*, defaults to `10`).
        weight_decay (`float`, *optional*, defaults to `0.01`).
        max_length (`int`, *optional*): No truncation by default: it would cut latent blocks.
        bf16 (`bool`, *optional*): Mixed precision in bfloat16; by default where the accelerator has it.
        gradient_checkpointing (`bool`, *optional*, defaults to `False`).
    """

    ce_loss_weight: float = field(default=0.1, metadata={"help": "Weight of the cross entropy on text."})
    sim_loss_weight: float = field(default=1.0, metadata={"help": "Weight of the cosine loss to the imagery targets."})
    self_feed_passes: int = field(
        default=0,
        metadata={"help": "Passes in which a row predicts the latents it feeds on; 0 feeds the imagery targets."},
    )
    self_feed_gradient: bool = field(
        default=False, metadata={"help": "Let the loss reach the last of these passes through its latents."}
    )
    latent_norm: str | None = field(
        default=None, metadata={"help": "'match' feeds states back at the length of the targets, 'none' as they come."}
    )
    latent_pooling: str | None = field(
        default=None, metadata={"help": "'average', 'grid' or 'region': the part of a frame each latent stands for."}
    )
    drop_imagery: bool = field(
        default=False, metadata={"help": "Train on the responses without their imagery: the text-only control."}
    )
    learning_rate: float = field(default=1e-5, metadata={"help": "Peak learning rate."})
    num_train_epochs: float = field(default=1, metadata={"help": "Passes over the rows."})
    warmup_steps: float = field(default=10, metadata={"help": "Steps of linear warm-up."})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's weight decay."})
    max_length: int | None = field(default=None, metadata={"help": "Leave unset: truncation would cut latent blocks."})
    gradient_checkpointing: bool = field(default=False, metadata={"help": "Recompute activations to save memory."})
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave false: the collator reads the rows."})
    dataset_kwargs: dict[str, Any] | None = field(
        default_factory=lambda: {"skip_prepare_dataset": True},
        metadata={"help": "Leave as it is: the collator tokenizes the rows."},
    )

    def __post_init__(self):
        if self.bf16 is None and not self.fp16:
            self.bf16 = not self.use_cpu and is_torch_bf16_gpu_available()
        super().__post_init__()
        if self.self_feed_passes < 0:
            raise InputError(f"self_feed_passes is {self.self_feed_passes}: give 0 or more")
        for name, known in (("latent_norm", LATENT_NORMS), ("latent_pooling", LATENT_POOLINGS)):
            if getattr(self, name) not in (None, *known):
                raise InputError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(known)}")
        if self.max_length is not None or self.packing or self.padding_free:
            raise InputError("truncating or packing rows would cut latent blocks: leave max_length and packing unset")
