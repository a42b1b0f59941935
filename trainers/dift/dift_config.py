"""Settings of DIFT."""

from dataclasses import dataclass, field
from typing import Any

from transformers.utils import is_torch_bf16_gpu_available
from trl import SFTConfig

from ...modeling.configuration_latent import ANSWERS_SEE, LATENT_LOSSES, LATENT_NORMS, LATENT_POOLINGS
from ...modeling.errors import InputError
from ...modeling.row_rules import ON_BAD_ROW
from ..common.activation_checkpointing import settle_activation_checkpointing
from ..common.setting_rules import check_common_rules
from .setting_rules import check_dift_rules

# Fields of TRL and transformers that the DIFT loss or its collator cannot follow, and their one value.
_ONLY = {
    "assistant_only_loss": False,
    "average_tokens_across_devices": True,
    "completion_only_loss": None,
    "eval_packing": None,
    "label_smoothing_factor": 0.0,
    "loss_type": "nll",
    "neftune_noise_alpha": None,
    "pad_to_multiple_of": None,
}
SELF_FEEDINGS = ("none", "pads", "parallel", "sequential", "exact")
PADDING_SIDES = ("right", "left")


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
            Weight of the loss between hidden states and imagery targets.
        latent_loss (`str`, *optional*):
            Which loss that is: `"cosine"`, `"cosine+norm"` or `"smooth_l1"`, see [`dift_loss`]; by default as the
            model's configuration says. The model keeps it.
        self_feeding (`str`, *optional*, defaults to `"none"`):
            What is fed at latents. `"none"`: the imagery targets, as published; the model may then read the answer off
            imagery that it cannot produce. Otherwise each row's own latents, see [`SelfFeeding`]: `"parallel"`, of
            `self_feed_passes` passes over the row, or `"sequential"`, one pass for each latent. The loss is that of
            one more pass. `"exact"`: the latents that the row would decode, with the whole gradient of decoding, by
            one unroll whose cache carries the graph; where weights are sharded, by as many parallel passes as a row
            has latents. `"pads"` feeds the pad's embedding: tokens without feedback, a control. Decode such a model
            with the latents replaced in the same way.
        self_feed_passes (`int`, *optional*, defaults to `2`):
            Parallel passes. With at least as many as a row has latents, they are exactly those that it would decode.
        self_feed_gradient (`int`, *optional*, defaults to `0`):
            Number of last passes through which the loss has gradients to the latents fed in; not for `"exact"`.
        teacher_forcing (`float`, *optional*, defaults to `0.0`):
            With self-feeding, the share of latent blocks that feed on their targets all the same at the first step
            (scheduled sampling, arXiv 1506.03099); it falls linearly to 0.
        teacher_forcing_until (`float`, *optional*, defaults to `0.5`):
            Share of the steps by which `teacher_forcing` has fallen to 0.
        latent_norm (`str`, *optional*):
            `"match"` feeds states back at the length of the targets, `"none"` as they come; by default as the model's
            configuration says. The model keeps it.
        latent_pooling (`str`, *optional*):
            What part of an imagery frame each latent stands for: `"average"`, `"grid"` or `"region"`; by default as
            the model's configuration says. The model keeps it.
        answer_sees (`str`, *optional*):
            What text after a latent block sees: `"all"`, as published, or `"latents"`, so that the video reaches the
            answer through the latents alone; by default as the model's configuration says. The model keeps it.
        answer_sees_question (`bool`, *optional*):
            Whether that text sees the question too, which then does not see the video; by default as the model's
            configuration says. The model keeps it.
        answer_blinding (`float`, *optional*, defaults to `0.0`):
            With `answer_sees="latents"`, the share of rows whose answer is blind to the video at the first step; the
            others see all. It rises linearly to 1. Evaluation is blind from the start, as decoding is.
        answer_blinding_until (`float`, *optional*, defaults to `0.5`):
            Share of the steps by which `answer_blinding` has risen to 1; with 0 all rows are blind from the first on.
        target_readout (`bool`, *optional*, defaults to `False`):
            Compare a linear read-out of the states with targets standardised over the rows, see [`TargetReadout`]. It
            is trained with the model and no part of what is saved.
        freeze_vision (`bool`, *optional*, defaults to `True`):
            Keep the vision tower fixed. `False` trains it; a frozen copy of it gives the targets.
        vision_learning_rate (`float`, *optional*):
            Peak learning rate of the vision tower, its merger included, where `freeze_vision=False`; by default
            `learning_rate`. A rate that suits a new language model can make a trained tower forget what it sees.
        alignment_loss_weight (`float`, *optional*, defaults to `0.0`):
            Weight of the distance between the states before the answer and those of a pass without gradient that saw
            the true imagery, in all layers, see [`alignment_loss`] (CODI, arXiv 2502.21074).
        padding_side (`str`, *optional*, defaults to `"right"`):
            Where shorter rows are filled: `"right"`, as published, or `"left"`.
        drop_imagery (`bool`, *optional*, defaults to `False`):
            Train on the same responses without their imagery: the text-only control.

        on_bad_row (`str`, *optional*, defaults to `"stop"`):
            How to handle rows that cannot be trained on: `"stop"` before training, or `"skip"` them with a warning.

    > Parameters that control cost

    Args:
        pack_rows (`bool`, *optional*, defaults to `False`):
            Pack the rows of a batch into one row, whole and without padding: what TRL's `padding_free` is
            for rows of text.
        precompute_targets (`bool`, *optional*, defaults to `False`):
            Run the imagery through the frozen tower once, before the first step, and keep its targets on disk.
        precompute_videos (`bool`, *optional*, defaults to `False`):
            The same for the videos' features, which take far more space: 2 bytes x hidden size for a token in bf16.
            Training decodes no frame again.
        feature_cache (`str`, *optional*):
            Folder of both, which any run with the same tower may share; by default under `HF_HOME`.

    > Parameters that control evaluation

    Args:
        eval_generations (`int`, *optional*, defaults to `64`):
            Held-out rows that each evaluation answers by free-running greedy decoding; 0 for none.
        eval_max_new_tokens (`int`, *optional*, defaults to `512`):
            Maximum length of these answers in tokens, latents included.

    > Parameters whose defaults differ from TRL's

    Args:
        learning_rate (`float`, *optional*, defaults to `1e-5`).
        num_train_epochs (`float`, *optional*, defaults to `1`).
        warmup_steps (`float`, *optional*, defaults to `10`).
        weight_decay (`float`, *optional*, defaults to `0.01`).
        max_length (`int`, *optional*): No truncation by default: it would cut latent blocks.
        bf16 (`bool`, *optional*): Mixed precision in bfloat16; by default where the accelerator has it.
        activation_checkpointing (`bool`, *optional*, defaults to `False`):
            Recompute activations in the backward pass to save memory. `gradient_checkpointing` is its old name.
    """

    ce_loss_weight: float = field(default=0.1, metadata={"help": "Weight of the cross entropy on text."})
    sim_loss_weight: float = field(
        default=1.0, metadata={"help": "Weight of the latent loss to the imagery targets, see latent_loss."}
    )
    latent_loss: str | None = field(
        default=None,
        metadata={
            "help": "Distance of states from targets: 'cosine', 'cosine+norm' or 'smooth_l1'.",
            "choices": list(LATENT_LOSSES),
        },
    )
    self_feeding: str = field(
        default="none",
        metadata={
            "help": "What is fed at latents: 'none', targets; 'parallel' or 'sequential', the model's own latents; "
            "'exact', these with their whole gradient; 'pads', the pad's embedding, a control.",
            "choices": list(SELF_FEEDINGS),
        },
    )
    self_feed_passes: int = field(default=2, metadata={"help": "Passes of parallel self-feeding."})
    self_feed_gradient: int = field(
        default=0, metadata={"help": "Number of last passes with gradients to the latents fed in."}
    )
    teacher_forcing: float = field(
        default=0.0, metadata={"help": "Share of blocks fed their targets at the first step of self-feeding."}
    )
    teacher_forcing_until: float = field(
        default=0.5, metadata={"help": "Share of the steps by which teacher_forcing has fallen to 0."}
    )
    latent_norm: str | None = field(
        default=None,
        metadata={
            "help": "'match' rescales fed-back states to the norm of the targets; 'none' does not.",
            "choices": list(LATENT_NORMS),
        },
    )
    latent_pooling: str | None = field(
        default=None,
        metadata={
            "help": "Pooling of an imagery frame to latents: 'average', 'grid' or 'region'.",
            "choices": list(LATENT_POOLINGS),
        },
    )
    answer_sees: str | None = field(
        default=None,
        metadata={
            "help": "What text after a latent block sees: 'all', or 'latents', which hides the video from it.",
            "choices": list(ANSWERS_SEE),
        },
    )
    answer_sees_question: bool | None = field(
        default=None, metadata={"help": "With answer_sees 'latents', whether the answer sees the question as well."}
    )
    answer_blinding: float = field(
        default=0.0, metadata={"help": "Share of rows whose answer is blind to the video at the first step."}
    )
    answer_blinding_until: float = field(
        default=0.5, metadata={"help": "Share of the steps by which answer_blinding has risen to 1."}
    )
    target_readout: bool = field(
        default=False,
        metadata={"help": "Compare a linear read-out of the states, for training only, with standardised targets."},
    )
    freeze_vision: bool = field(
        default=True,
        metadata={"help": "Keep the vision tower fixed. False trains it; a frozen copy of it gives the targets."},
    )
    vision_learning_rate: float | None = field(
        default=None, metadata={"help": "Peak learning rate of a vision tower that trains; by default learning_rate."}
    )
    alignment_loss_weight: float = field(
        default=0.0,
        metadata={"help": "Weight of aligning the state before the answer with a pass that saw the true imagery."},
    )
    padding_side: str = field(
        default="right",
        metadata={"help": "Where shorter rows are padded: 'right' or 'left'.", "choices": list(PADDING_SIDES)},
    )
    drop_imagery: bool = field(
        default=False, metadata={"help": "Train on the responses without their imagery: the text-only control."}
    )
    on_bad_row: str = field(
        default="stop",
        metadata={
            "help": "How to handle invalid rows: stop before training or skip them.",
            "choices": list(ON_BAD_ROW),
        },
    )
    pack_rows: bool = field(
        default=False, metadata={"help": "Pack the rows of a batch into one row, without padding."}
    )
    precompute_targets: bool = field(
        default=False, metadata={"help": "Run the imagery through the frozen tower once, before the first step."}
    )
    precompute_videos: bool = field(
        default=False, metadata={"help": "The same for the videos; their features take far more disk space."}
    )
    feature_cache: str | None = field(
        default=None, metadata={"help": "Folder of the precomputed features; by default under HF_HOME."}
    )
    eval_generations: int = field(
        default=64, metadata={"help": "Held-out rows that an evaluation answers by free-running decoding."}
    )
    eval_max_new_tokens: int = field(
        default=512, metadata={"help": "Maximum tokens of these answers, latents included."}
    )
    learning_rate: float = field(default=1e-5, metadata={"help": "Peak learning rate."})
    num_train_epochs: float = field(default=1, metadata={"help": "Passes over the rows."})
    warmup_steps: float = field(default=10, metadata={"help": "Steps of linear warm-up."})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW's weight decay."})
    max_length: int | None = field(default=None, metadata={"help": "Leave unset: truncation would cut latent blocks."})
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
    remove_unused_columns: bool = field(default=False, metadata={"help": "Leave false: the collator reads the rows."})
    dataset_kwargs: dict[str, Any] | None = field(
        default_factory=lambda: {"skip_prepare_dataset": True},
        metadata={"help": "Leave as it is: the collator tokenizes the rows."},
    )

    def __post_init__(self):
        settle_activation_checkpointing(self, default=False)
        if self.bf16 is None and not self.fp16:
            self.bf16 = not self.use_cpu and is_torch_bf16_gpu_available()
        super().__post_init__()
        choices = {
            "self_feeding": SELF_FEEDINGS,
            "padding_side": PADDING_SIDES,
            "answer_sees": (None, *ANSWERS_SEE),
            "latent_loss": (None, *LATENT_LOSSES),
            "latent_norm": (None, *LATENT_NORMS),
            "latent_pooling": (None, *LATENT_POOLINGS),
            "on_bad_row": ON_BAD_ROW,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                named = ", ".join(filter(None, known))
                raise InputError(f"{name} is {getattr(self, name)!r}: choose one of {named}")
        for name, only in _ONLY.items():
            if getattr(self, name) != only:
                raise InputError(f"{name} is {getattr(self, name)!r}, which DIFT cannot follow: leave it at {only!r}")
        check_common_rules(self)
        check_dift_rules(self)
