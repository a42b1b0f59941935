"""4DRL trainer: TRL's GRPO on completions with latent blocks."""

from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel
from transformers.trainer_utils import TrainOutput
from trl import GRPOTrainer

from ...modeling.errors import InputError
from ...modeling.generation_latent import LatentGenerateOutput
from ...modeling.latent_rules import LatentRules
from ..common.adapters import check_tower, set_missing_head_bias
from ..common.distributed import gather_for_features, weights_are_sharded
from ..common.loading import load_parts, name_run
from ..common.loss_division import divide_loss_once
from ..common.nonfinite import check_finite_loss, make_sampling_error
from ..common.reliable_trainer import ReliableTrainerMixin
from ..common.tied_embeddings import input_gradient_by_rows, keeps_gradients_in_backward
from ..common.unwrapping import unwrap_model
from ..common.video_inputs import encode_videos, video_inputs
from ..rewards.failures import name_failing_row
from .epoch_sampler import EpochSampler
from .grpo_config import LatentGRPOConfig
from .logprobs import LatentScorer, masked_tokens
from .metrics import GRPOMetrics, share_of_equal_groups
from .prefix_sharing import group_slices_by_prompt, is_order_free, supports_prefix_sharing
from .preparation import prepare_adapter, prepare_rewards, prepare_rows
from .rollout import (
    Rollout,
    encode_prompts,
    group_prompts,
    keep_responses_whole,
    prefill_prompts,
    truncate_at_eos,
)
from .sampling import configure_sampling, prepare_policy

_NO_PROBABILITIES = "probability tensor contains"  # as torch says it when it is to draw from NaN


class LatentGRPOTrainer(ReliableTrainerMixin, GRPOTrainer):
    r"""
    GRPO whose policy is scored on exactly the latents that it rolled out (4DRL of arXiv 2605.05997).

    A completion's latents are hidden states that its own rollout fed back. They are kept with the row and put in the
    same places whenever it is scored: by the policy, by the old policy, by the reference. As constants they get no
    gradient of their own, but the text after them sends gradient through the positions where they stand; with
    `latent_gradient` it goes on into what predicted them. Latent positions themselves take no part in the objective
    (see `latent_mask`).

    It meets TRL in these places; `tests/trainers/grpo/test_trl_seams.py` names the one that moved when a new TRL
    breaks it. What they share is one record, [`Rollout`]:

    - `rollout_func` and its `env_mask` (`_roll_out`): completions by our `generate`, latents kept out of the loss.
    - `_generate_and_score_completions`: starts the record, and sends its lists along with TRL's batch.
    - `_calculate_rewards`: counts groups that all earned the same.
    - `_prepare_inputs` with `_buffered_inputs` and `_step`: puts completions of one prompt into one pass.
    - `_compute_loss`: reads the record of the slice whose loss it is.
    - `_get_per_token_logps_and_entropies`: hands TRL a stand-in for `model`, see [`LatentScorer`].
    - `_get_train_sampler`: prompts by seed and epoch, see [`EpochSampler`].
    - `log` and `_metrics`: our numbers beside TRL's.
    - `generation_config`: TRL's is replaced once it is made, see [`configure_sampling`].
    - `_CHUNKED_LOGPROB_CHUNK_SIZE` of `trl.trainer.utils`: narrower on a CPU while its head runs, see
      [`narrow_head_tiles`].
    - `train` and `training_step`: memory of tied embeddings, and the stop on a NaN or infinite loss.
    - `_save`, `save_model`, `_save_checkpoint`, `create_optimizer`, `create_scheduler` and `create_model_card`, of
      [`ReliableTrainerMixin`]: complete checkpoints without pickles, settings named in errors, our card for TRL's.
    - `_tokenizer`'s `response_template`, put aside while TRL reads completions, see [`keep_responses_whole`].

    Args:
        model ([`FourDThinkerForConditionalGeneration`], `PeftModel` or `str`):
            The policy, or its folder or Hub id.
        reward_funcs (`list[Callable]`, *optional*):
            Reward functions; by default those that the settings name, [`accuracy_reward`] and [`format_reward`] if
            they name none. One that raises ends the run with a line that names the completion and its row.
        args ([`LatentGRPOConfig`], *optional*):
            Settings; by default those of a run named after the model.
        train_dataset (`Dataset`, *optional*):
            Rows with `question`, `options`, `frames` and `timestamps`, or in TRL's columns, see
            [`adopt_trl_columns`]; and what the rewards read, such as `answer`. All columns reach the rewards.
        eval_dataset (`Dataset`, *optional*):
            Rows of the same kind.
        processing_class ([`~transformers.ProcessorMixin`], *optional*):
            The model's processor; by default the one that was saved with it.
        peft_config (`peft.PeftConfig`, *optional*):
            Train an adapter (LoRA, rsLoRA, DoRA or IA3), see [`complete_lora_config`] and [`validate_adapters`];
            switched off, it is the reference. With `freeze_vision=False` it reaches the vision tower too. The
            embeddings of the latent tokens are trained with it, the start token's score among them, which is the
            policy's own; except, with a warning, where weights are sharded. That costs a gradient of the whole head's
            size for a moment.
        kwargs:
            Further arguments of [`~trl.GRPOTrainer`], such as `callbacks`.

    Raises:
        InputError: If columns are missing, rows are bad, the adapter is not supported, or sampling would differ.

    Example:

    ```python
    from fourdthinker.trainers import LatentGRPOConfig, LatentGRPOTrainer

    args = LatentGRPOConfig("run", per_device_train_batch_size=64, num_generations=8)
    trainer = LatentGRPOTrainer("my-model", args=args, train_dataset=rows)
    trainer.train(resume_from_checkpoint=True)
    ```
    """

    _tag_names = ["trl", "grpo", "4drl"]

    def __init__(
        self,
        model,
        reward_funcs=None,
        args=None,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        peft_config=None,
        **kwargs: Any,
    ):
        args = args or LatentGRPOConfig(name_run(model, "4DRL"))
        if args.latent_gradient and weights_are_sharded(args):
            raise InputError(
                "weights are sharded (FSDP or ZeRO-3), which latent_gradient would gather outside the model's own "
                "passes: set latent_gradient to false, or train an adapter without sharding"
            )
        reward_funcs = prepare_rewards(reward_funcs, args)
        train_dataset = prepare_rows("train_dataset", train_dataset, reward_funcs, args)
        eval_dataset = prepare_rows("eval_dataset", eval_dataset, reward_funcs, args)
        model, processing_class = load_parts(model, args, processing_class)
        adapted = isinstance(model, PeftModel) or peft_config is not None
        peft_config = prepare_adapter(model, peft_config, args)
        self._rollout = Rollout()
        super().__init__(
            model,
            [name_failing_row(reward) for reward in reward_funcs],
            args,
            train_dataset,
            eval_dataset,
            processing_class=processing_class,
            peft_config=peft_config,
            rollout_func=self._roll_out,
            **kwargs,
        )
        divide_loss_once(self.accelerator)
        set_missing_head_bias(self._base_model)
        visual = self._base_model.model.visual
        if adapted:
            check_tower(visual, args.freeze_vision)
        else:
            visual.requires_grad_(not args.freeze_vision)
        self.generation_config = configure_sampling(self, self._base_model)
        rules = LatentRules.from_config(self._base_model.config)
        self._measured = {mode: GRPOMetrics(self.accelerator, rules) for mode in ("train", "eval")}

    @property
    def _base_model(self) -> PreTrainedModel:
        return unwrap_model(self.accelerator, self.model)

    def _get_train_sampler(self, dataset: Dataset | None = None) -> EpochSampler:
        sampler = super()._get_train_sampler(dataset)
        rows, prompts = len(sampler.data_source), sampler.batch_size
        if rows < prompts:  # TRL leaves out what fills no rollout, and would end without a step
            raise InputError(
                f"a rollout takes {prompts} prompts and there are {rows} rows: give more rows, or lower "
                "per_device_train_batch_size (or steps_per_generation)"
            )
        return EpochSampler(sampler, lambda: self.state.epoch)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        # `rollout_func` gets prompts only. The rows are kept for it here, in the method that makes those prompts from
        # them and calls it once, in order. Frames inside the prompt instead would be copied for every row by TRL and
        # would end up in its logs.
        self._rollout = Rollout.start(inputs)
        with keep_responses_whole(self.processing_class.tokenizer):
            batch = super()._generate_and_score_completions(self._rollout.rows)
        self._metrics[self._mode]["frac_reward_zero_std"][-1] = self._rollout.equal_groups
        # Lists with one entry a row: TRL shuffles, splits and buffers them with the rest of the batch.
        return {**batch, **self._rollout.batch_columns()}

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        size = self.num_generations if self._mode == "train" else self.num_generations_eval
        self._rollout.equal_groups = share_of_equal_groups(rewards, self.reward_weights, size)
        return rewards

    def _roll_out(self, prompts: list, trainer: GRPOTrainer) -> dict[str, Any]:
        """TRL's `rollout_func`: one completion for each row of the record."""
        if len(prompts) != len(self._rollout.rows):
            raise RuntimeError(f"TRL asks for {len(prompts)} completions of {len(self._rollout.rows)} rows")
        with self._measured[self._mode].timed("rollout"):
            tokens, output = self._sample_completions(self._rollout)
        rows = zip(tokens["input_ids"], tokens["attention_mask"].bool(), strict=True)
        prompt_ids = [ids[real].tolist() for ids, real in rows]
        generated = output.sequences[:, tokens["input_ids"].shape[1] :].tolist()
        completion_ids = [truncate_at_eos(ids, self.eos_token_ids) for ids in generated]
        self._measured[self._mode].add(completion_ids)
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": completion_ids,
            "logprobs": None,  # sampled by the policy itself: nothing to correct for
            "env_mask": [self._mask_latents(ids) for ids in completion_ids],
            "rollout_text": [self._decode(ids) for ids in completion_ids],
        }

    def _sample_completions(self, rollout: Rollout) -> tuple[dict[str, torch.Tensor], LatentGenerateOutput]:
        """Sample after each row's prompt, and put prompt numbers, videos and latents into the record.

        Returns:
            `tuple`: The prompts' tokens, left-padded, `(completions, length)` each, and what `generate` gave.
        """
        distinct, numbers = group_prompts(rollout.rows)
        encoded = encode_prompts(self.processing_class, distinct).to(self.accelerator.device)
        with prepare_policy(self) as model:
            gather_for_features(model)
            videos = encode_videos(model, encoded, self.args.freeze_vision)
            rollout.prompt_numbers, rollout.videos = numbers, [videos[number] for number in numbers]
            prompts = {key: encoded[key] for key in ("input_ids", "attention_mask", "mm_token_type_ids")}
            tokens = {key: values[numbers] for key, values in prompts.items()}
            if self.args.share_prompts and self.generation_config.cache_implementation is None:
                context = prefill_prompts(self._base_model, prompts, videos, numbers)
            else:
                context = video_inputs(rollout.videos)
            try:
                output = model.generate(
                    **tokens,
                    **context,
                    generation_config=self.generation_config,
                    synced_gpus=weights_are_sharded(self.args),  # all processes take part in each other's steps
                )
            except RuntimeError as error:
                if _NO_PROBABILITIES not in str(error):
                    raise
                raise make_sampling_error(self, rollout.ids) from error
        rollout.latents = output.latent_embeds
        return tokens, output

    def _mask_latents(self, ids: list[int]) -> list[int]:
        """TRL's `env_mask` of one completion: 1 at the policy's own tokens, 0 at latents."""
        return (~masked_tokens(torch.tensor(ids), self._base_model.config, self.args.latent_mask)).int().tolist()

    def _decode(self, ids: list[int]) -> str:
        """A completion with its latent and other special tokens, without the one that ends the turn."""
        kept = ids[:-1] if ids[-1] in self.eos_token_ids else ids
        return self.processing_class.tokenizer.decode(kept, skip_special_tokens=False)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's own, with what was measured since the last log, see [`GRPOMetrics`]."""
        metrics = self._metrics[self._mode]
        measured = self._measured[self._mode].read(metrics.get("step_time", ()))
        metrics.update({name: [value] for name, value in measured.items()})
        super().log(logs, start_time)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:
        """TRL's own, with less work for a tied embedding's gradient, see [`input_gradient_by_rows`]."""
        with input_gradient_by_rows(self._base_model, keeps_gradients_in_backward(self.args)):
            return super().train(*args, **kwargs)

    def training_step(self, model, inputs: Any, num_items_in_batch: torch.Tensor | None = None) -> torch.Tensor:
        """TRL's own; an error names the rows of the step.

        Raises:
            InputError: If the loss is not finite, which would make every weight so, or a rollout cannot be sampled.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        check_finite_loss(self, loss, self._rollout.ids)
        return loss

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        fresh = self._buffered_inputs is not before
        if not (
            fresh
            and self.args.share_prompts
            and supports_prefix_sharing(self._base_model)
            and is_order_free(self.args)
        ):
            return inputs
        # TRL has shuffled the completions over the slices of a step.
        self._buffered_inputs = group_slices_by_prompt(self._buffered_inputs, self.args.gradient_accumulation_steps)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _compute_loss(self, model, inputs: dict[str, Any]) -> torch.Tensor:
        self._rollout = Rollout.from_batch(inputs)
        return super()._compute_loss(model, inputs)

    def _get_per_token_logps_and_entropies(
        self, model, input_ids, attention_mask, logits_to_keep: int, *args: Any, **kwargs: Any
    ):
        # One override for the policy, the old policy and the reference (a copy, or the adapter switched off).
        scorer = LatentScorer(
            model,
            self._rollout,
            unwrap_model(self.accelerator, model),
            logits_to_keep,
            self.args.latent_mask,
            self.args.share_prompts,
            self.args.latent_gradient,
            self.accelerator.autocast,
        )
        with self._measured[self._mode].timed("scoring"):
            scores = super()._get_per_token_logps_and_entropies(
                scorer, input_ids, attention_mask, logits_to_keep, *args, **kwargs
            )
        if scorer.scored != len(self._rollout.latents):
            raise RuntimeError(f"TRL scored {scorer.scored} of the {len(self._rollout.latents)} rows it carried")
        return scores
