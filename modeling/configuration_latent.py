"""Configuration fields for latents, as a mixin over the stock class of any Qwen-VL family."""

import inspect

from .errors import InputError

LATENT_LOSSES = ("cosine", "cosine+norm", "smooth_l1")
LATENT_POOLINGS = ("average", "grid", "region")
LATENT_NORMS = ("none", "match")
ANSWERS_SEE = ("all", "latents")


class LatentConfigMixin:
    r"""
    The fields of latent thinking.

    Args:
        latent_token_id (`int`, *optional*):
            Id of `<|latent_pad|>`: one token for each latent vector.
        latent_start_token_id (`int`, *optional*):
            Id of `<|latent_start|>`, which opens a latent block.
        latent_end_token_id (`int`, *optional*):
            Id of `<|latent_end|>`, which closes it.
        latent_size (`int`, *optional*, defaults to 4):
            Latent vectors in a block (K).
        latent_pooling (`str`, *optional*, defaults to `"average"`):
            How the vision features of an imagery frame become K targets. `"average"`: the mean of each of K
            contiguous groups in raster order (arXiv 2605.05997, DIFT), which are horizontal bands of the frame.
            `"grid"`: the mean of each of K cells, 2 x 2 for 4. `"region"`: the mean of each of K groups of what is
            painted, for which the imagery's masks must be given.
        latent_norm (`str`, *optional*, defaults to `"none"`):
            `"match"` feeds states back at the length of the targets that they stand for; `"none"` as they come, as
            published, although the cosine loss leaves their length free.
        latent_target_norm (`float`, *optional*):
            Mean Euclidean length of the targets, for `latent_norm="match"`; `DIFTTrainer` measures it before its
            first step.
        ce_loss_weight (`float`, *optional*, defaults to 0.1):
            Weight of the cross entropy in the DIFT loss.
        sim_loss_weight (`float`, *optional*, defaults to 1.0):
            Weight of the loss between hidden states and imagery targets in the DIFT loss.
        latent_loss (`str`, *optional*, defaults to `"cosine"`):
            How far states are from their targets: `"cosine"`, as published, `"cosine+norm"` or `"smooth_l1"`; see
            [`dift_loss`].
        answer_sees (`str`, *optional*, defaults to `"all"`):
            What text after a latent block of a response sees: `"all"`, as published, or `"latents"`, the latents and
            itself alone, so that the video reaches the answer through them (see `answer_mask`).
        answer_sees_question (`bool`, *optional*, defaults to `True`):
            With `answer_sees="latents"`, whether it sees the question too. The question then does not see the video.
        latent_blocks (`int`, *optional*):
            Most latent blocks of a response. With `answer_sees="latents"`, no row opens another one after so many,
            and what its answer does not see is dropped from the cache. None: any number, and nothing is dropped.
            `DIFTTrainer` counts it in its rows.
        turn_token_id (`int`, *optional*):
            Id of `<|im_start|>`, which begins a turn; needed with `answer_sees="latents"`.
        position_rule (`str`, *optional*, defaults to `"transformers"`):
            Where text continues after a visual block. `"transformers"`: as the installed transformers does. A family
            whose own code does otherwise has its rule as the default.
    """

    position_rules = ("transformers",)

    def __init__(
        self,
        *,
        latent_token_id: int | None = None,
        latent_start_token_id: int | None = None,
        latent_end_token_id: int | None = None,
        latent_size: int = 4,
        latent_pooling: str = "average",
        latent_norm: str = "none",
        latent_target_norm: float | None = None,
        ce_loss_weight: float = 0.1,
        sim_loss_weight: float = 1.0,
        latent_loss: str = "cosine",
        answer_sees: str = "all",
        answer_sees_question: bool = True,
        latent_blocks: int | None = None,
        turn_token_id: int | None = None,
        position_rule: str = "transformers",
        **kwargs,
    ):
        self.latent_token_id = latent_token_id
        self.latent_start_token_id = latent_start_token_id
        self.latent_end_token_id = latent_end_token_id
        self.latent_size = latent_size
        self.latent_pooling = latent_pooling
        self.latent_norm = latent_norm
        self.latent_target_norm = latent_target_norm
        self.ce_loss_weight = ce_loss_weight
        self.sim_loss_weight = sim_loss_weight
        self.latent_loss = latent_loss
        self.answer_sees = answer_sees
        self.answer_sees_question = answer_sees_question
        self.latent_blocks = latent_blocks
        self.turn_token_id = turn_token_id
        self.position_rule = position_rule
        super().__init__(**kwargs)
        self._check_latents()

    def _check_latents(self) -> None:
        if not isinstance(self.latent_size, int) or self.latent_size < 1:
            raise InputError(f"latent_size is {self.latent_size!r}: give a whole number of latents, 1 or more")
        choices = {
            "latent_pooling": LATENT_POOLINGS,
            "latent_norm": LATENT_NORMS,
            "latent_loss": LATENT_LOSSES,
            "answer_sees": ANSWERS_SEE,
            "position_rule": self.position_rules,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}: choose one of {', '.join(known)}")
        if self.latent_blocks is not None and (not isinstance(self.latent_blocks, int) or self.latent_blocks < 1):
            raise InputError(f"latent_blocks is {self.latent_blocks!r}: give a whole number of 1 or more, or none")
        if self.latent_target_norm is not None and not self.latent_target_norm > 0:
            raise InputError(f"latent_target_norm is {self.latent_target_norm!r}: give a length above 0, or none")
        for name in ("ce_loss_weight", "sim_loss_weight"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)!r}: give a number of 0 or more")
        ids = [self.latent_token_id, self.latent_start_token_id, self.latent_end_token_id]
        set_ids = [token for token in ids if token is not None]
        if len(set(set_ids)) != len(set_ids):
            raise InputError(f"the latent token ids {ids} are not three different ones: read them from the tokenizer")


LATENT_FIELDS = tuple(
    name
    for name, parameter in inspect.signature(LatentConfigMixin.__init__).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)
