"""Settings of 4DRL."""

import math
from dataclasses import dataclass, field
from typing import Any

from transformers.utils import is_torch_bf16_gpu_available
from trl import GRPOConfig

from ...modeling.errors import InputError
from ...modeling.row_rules import ON_BAD_ROW
from ..common.activation_checkpointing import settle_activation_checkpointing
from ..common.setting_rules import check_common_rules
from ..rewards.registry import check_rewards
from ..rewards.spatiotemporal import CENTER_SCALES
from .setting_rules import check_grpo_rules, check_sampling_rules

LATENT_MASKS = ("pads_and_end", "all")


@dataclass
class LatentGRPOConfig(GRPOConfig):
    r"""
    Configuration of [`LatentGRPOTrainer`]: TRL's [`~trl.GRPOConfig`] and what latents need.

    Only the settings that are new, or whose default differs from TRL's, are listed. The defaults follow the published
    4DRL (arXiv 2605.05997 and its code): β = 0.01, ε = 0.2, G = 8, learning rate 1e-6, and a mean over the text of
    each completion. Its `top_p=0.9` is left at 1: a token is scored by its probability under the whole distribution,
    which a truncated one does not sample from. Tokens that cannot be sampled at a place (placeholders of images and
    videos; the pad and the end of a block where the policy chooses; the start after the last block, if answers see
    latents alone) keep their share of that distribution, which training makes small.

    > Parameters that control latents

    Args:
        latent_mask (`str`, *optional*, defaults to `"pads_and_end"`):
            Which latent tokens stay out of the loss, the KL term, the entropy and every length. `"pads_and_end"`: the
            pads and the end token, which decoding forces; the start token, the decision to imagine, is the policy's
            own and is trained. `"all"`: the start token as well, as published.
        latent_gradient (`bool`, *optional*, defaults to `False`):
            Let the gradient of the text's log-probs go through the latents that the text was read from. A latent is
            not sampled: given the words before it, it follows from the weights. So the probability of a completion
            depends on the weights through its latents too, and this is the whole policy gradient; the published
            4DRL leaves that part out. Each model that scores then reads the text off the latents that it predicts
            itself, the reference too. Costs one step for each latent of a completion, forward and backward, and a
            second run of each prompt. Not for sharded weights.
        freeze_vision (`bool`, *optional*, defaults to `True`):
            Keep the vision tower as it is. Its features are then computed once for each prompt of a step and shared
            by all completions and scoring passes. Otherwise each pass encodes the pixels itself.
        vision_learning_rate (`float`, *optional*):
            Peak learning rate of the vision tower, its merger included, where `freeze_vision=False`; by default
            `learning_rate`.
        share_prompts (`bool`, *optional*, defaults to `True`):
            Compute a prompt once for all its completions in a rollout, and once for those that one scoring pass holds
            where the attention is `"sdpa"` or `"eager"`. The completions of a prompt are put into one pass for it,
            unless the loss depends on which rows a pass holds (`loss_type="bnpo"`, entropy terms).
        latents (`bool`, *optional*, defaults to `True`):
            Whether completions may imagine. `False` bans the start token in rollouts, so that they are text alone.

        on_bad_row (`str`, *optional*, defaults to `"stop"`):
            How to handle rows that cannot be trained on: `"stop"` before training, or `"skip"` them with a warning.

    > Parameters that control rewards

    Args:
        reward_funcs (`list[str]`, *optional*):
            Reward functions: names of ours, or dotted import paths of your own (`package.module.function`). By
            default `accuracy_reward` and `format_reward`, as published. Functions that are handed to the trainer
            itself take their place.
        center_scale (`str`, *optional*, defaults to `"metric"`):
            How [`spatiotemporal_reward`] measures distances: `"metric"`, as published, or `"relative"`.

    > Parameters whose defaults differ from TRL's

    Args:
        reward_weights (`list[float]`, *optional*):
            Weights of the reward functions: by default 1 and 0.2 for accuracy and format, as published, and 1 for each
            of any others.
        beta (`float`, *optional*, defaults to `0.01`):
            Weight of the KL term towards the initial model. 0 saves the memory of a reference model.
        loss_type (`str`, *optional*, defaults to `"grpo"`):
            How token losses are averaged: `"grpo"` is the mean over each completion, then over completions.
        disable_dropout (`bool`, *optional*, defaults to `True`):
            Rollouts and scoring passes would each drop other units (PEFT's `lora_dropout` among them), and the
            log-probs of one would not be those of the other.
        max_completion_length (`int`, *optional*, defaults to `1024`):
            Longest completion in tokens; a latent counts as one.
        bf16 (`bool`, *optional*):
            Mixed precision in bfloat16; by default where the accelerator has it.
        logging_steps (`float`, *optional*, defaults to `1`):
            Steps between two entries of the training log.
        activation_checkpointing (`bool`, *optional*, defaults to `True`):
            Recompute activations in the backward pass to save memory. `gradient_checkpointing` is its old name.
    """

    latent_mask: str = field(
        default="pads_and_end",
        metadata={
            "help": "Latent tokens kept out of the loss: 'pads_and_end' (the forced ones) or 'all' (also the start "
            "token, as published).",
            "choices": list(LATENT_MASKS),
        },
    )
    latent_gradient: bool = field(
        default=False,
        metadata={
            "help": "Let the gradient of the text go through the latents it was read from: the whole policy gradient. "
            "As published it stops there."
        },
    )
    freeze_vision: bool = field(
        default=True,
        metadata={
            "help": "Keep the vision tower fixed and compute its features once for each prompt of a step. Set to "
            "False to train it; every pass then encodes the pixels."
        },
    )
    vision_learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate of a vision tower that trains; by default learning_rate."}
    )
    share_prompts: bool = field(
        default=True,
        metadata={"help": "Compute a prompt once for all its completions in a rollout or a scoring pass."},
    )
    latents: bool = field(
        default=True, metadata={"help": "Whether completions may imagine; False makes them text alone."}
    )
    on_bad_row: str = field(
        default="stop",
        metadata={
            "help": "How to handle invalid rows: stop before training or skip them.",
            "choices": list(ON_BAD_ROW),
        },
    )
    reward_funcs: list[str] | None = field(
        default=None,
        metadata={
            "help": "Reward functions: accuracy_reward, format_reward, spatiotemporal_reward, or dotted import paths "
            "of your own, e.g. package.module.function; by default the first two."
        },
    )
    center_scale: str = field(
        default="metric",
        metadata={
            "help": "How spatiotemporal_reward measures distances: 'metric', as published, or 'relative'.",
            "choices": list(CENTER_SCALES),
        },
    )
    reward_weights: list[float] | None = field(
        default=None,
        metadata={
            "help": "Weights of the reward functions; by default 1 and 0.2 for accuracy_reward and format_reward "
            "together, else 1 each."
        },
    )
    beta: float = field(
        default=0.01,
        metadata={"help": "Weight of the KL term towards the initial model; 0 keeps no reference model in memory."},
    )
    loss_type: str = field(
        default="grpo",
        metadata={"help": "How token losses are averaged; 'grpo': within each completion, then over completions."},
    )
    disable_dropout: bool = field(
        default=True,
        metadata={"help": "Without dropout, an adapter's too: a completion is scored as it was rolled out."},
    )
    max_completion_length: int | None = field(
        default=1024, metadata={"help": "Longest completion in tokens; a latent counts as one."}
    )
    logging_steps: float = field(default=1, metadata={"help": "Steps between two entries of the training log."})
    activation_checkpointing: bool | None = field(
        default=None,
        metadata={"help": "Recompute activations in the backward pass to save memory.", "nargs": "?", "const": True},
    )
    activation_checkpointing_kwargs: dict[str, Any] | str | None = field(
        default=None, metadata={"help": "Arguments of `torch.utils.checkpoint.checkpoint`."}
    )
    gradient_checkpointing: bool | None = field(
        default=None, metadata={"help": "Old name of activation_checkpointing.", "nargs": "?", "const": True}
    )

    def __post_init__(self):
        settle_activation_checkpointing(self, default=True)
        if self.bf16 is None and not self.fp16:
            # TRL asks for bf16 wherever it runs, and ends with an error on a machine that cannot.
            self.bf16 = not self.use_cpu and is_torch_bf16_gpu_available()
        check_sampling_rules(self)
        super().__post_init__()
        if self.latent_mask not in LATENT_MASKS:
            raise InputError(f"latent_mask is {self.latent_mask!r}: choose one of {', '.join(LATENT_MASKS)}")
        if self.center_scale not in CENTER_SCALES:
            raise InputError(f"center_scale is {self.center_scale!r}: choose one of {', '.join(CENTER_SCALES)}")
        if self.on_bad_row not in ON_BAD_ROW:
            raise InputError(f"on_bad_row is {self.on_bad_row!r}: choose one of {', '.join(ON_BAD_ROW)}")
        if self.reward_funcs is not None:
            check_rewards(self.reward_funcs, self.reward_weights)
        self._check_saving()
        check_common_rules(self)
        check_grpo_rules(self)

    def _check_saving(self) -> None:
        """Reject checkpoints within the use of one rollout: a run resumed there would roll out again, and differ."""
        uses = self.steps_per_generation * self.num_iterations  # micro-batches that one rollout serves for
        if self.save_strategy != "steps" or self.save_steps < 1:  # below, a share of the whole run
            return
        if self.save_steps * self.gradient_accumulation_steps % uses:
            steps = math.lcm(uses, self.gradient_accumulation_steps) // self.gradient_accumulation_steps
            raise InputError(
                f"save_steps is {self.save_steps:g}, but completions serve for {steps} steps: set a multiple of it, "
                "so that a run that goes on ends like an undisturbed one"
            )
