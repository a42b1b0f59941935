"""DIFT trainer: supervised fine-tuning with latent imagery, on TRL's SFT trainer."""

import json
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import send_to_device
from datasets import Dataset
from peft import PeftConfig
from transformers import DataCollator, PreTrainedModel, ProcessorMixin
from trl import SFTTrainer
from trl.models import unwrap_model_for_generation

from ...modeling.errors import InputError
from ...modeling.self_feeding import SelfFeeding
from ..common.adapters import check_tower, complete_lora_config, validate_adapters
from ..common.dataset_columns import adopt_trl_columns
from ..common.distributed import gather_weights, weights_are_sharded
from ..common.images import keep_images_encoded
from ..common.loading import ModelOrPath, load_parts, name_run
from ..common.loss_division import divide_loss_once
from ..common.nonfinite import check_finite_loss
from ..common.reliable_trainer import ReliableTrainerMixin
from ..common.row_validation import needs_masks, validate_rows
from ..common.tied_embeddings import input_gradient_by_rows, keeps_gradients_in_backward
from ..common.unwrapping import unwrap_model
from .dift_collator import DIFTCollator
from .dift_config import DIFTConfig
from .feature_cache import FeatureCache
from .generation_eval import free_running_counts, free_running_shares
from .imagery_inputs import encode_row_imagery
from .metrics import DIFTMetrics
from .packing import pack_batch
from .row_lengths import row_lengths
from .sharding_rules import check_sharding

_ROWS_FOR_NORM = 64


class DIFTTrainer(ReliableTrainerMixin, SFTTrainer):
    """TRL's [`~trl.SFTTrainer`] with the DIFT loss on rows that hold imagery.

    The vision tower is frozen: it gives the targets. Beside the published stage, which feeds the targets at the latent
    pads, there is a self-fed one, see [`DIFTConfig`].

    Args:
        model ([`FourDThinkerForConditionalGeneration`] or `str`): The model to train, or its folder or Hub id.
        args ([`DIFTConfig`], *optional*): Settings; by default those of a run named after the model.
        data_collator (`Callable`, *optional*): Makes a batch of rows; by default a [`DIFTCollator`].
        train_dataset (`datasets.Dataset`, *optional*):
            Rows of `dift`, or in TRL's columns, see [`adopt_trl_columns`].
        eval_dataset (`datasets.Dataset`, *optional*): Held-out rows.
        processing_class (*optional*): The model's processor; by default the one that was saved with it.
        peft_config (`peft.PeftConfig`, *optional*):
            Train an adapter (LoRA, rsLoRA, DoRA or IA3), see [`complete_lora_config`] and [`validate_adapters`].
        kwargs: As in TRL, whose order the arguments before `peft_config` have.

    Raises:
        InputError: If rows do not fit the settings, either does not fit sharded weights, see [`check_sharding`], or
            the adapter is not supported.

    Example:

    ```python
    rows = load_dataset("data", "dift", split="train")
    DIFTTrainer("backbone", args=DIFTConfig("out"), train_dataset=rows).train(resume_from_checkpoint=True)
    ```
    """

    _tag_names = ["fourdthinker", "dift"]

    def __init__(
        self,
        model: ModelOrPath,
        args: DIFTConfig | None = None,
        data_collator: DataCollator | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Dataset | None = None,
        processing_class: ProcessorMixin | None = None,
        peft_config: PeftConfig | None = None,
        **kwargs,
    ):
        args = args or DIFTConfig(name_run(model, "DIFT"))
        masks = needs_masks(args, model)
        train_dataset, eval_dataset = (
            _adopt_and_validate(rows, args, masks) for rows in (train_dataset, eval_dataset)
        )
        model, processing_class = load_parts(model, args, processing_class)
        if weights_are_sharded(args):
            held_out = eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]
            check_sharding(args, [rows for rows in (train_dataset, *held_out) if isinstance(rows, Dataset)])
            model.tiled_loss = False
        peft_config = complete_lora_config(peft_config, model.config)
        if peft_config is not None:
            validate_adapters([peft_config], model)
        model.model.freeze_vision()
        for name in ("ce_loss_weight", "sim_loss_weight", "latent_loss", "latent_norm", "latent_pooling"):
            if getattr(args, name) is not None:
                setattr(model.config, name, getattr(args, name))
        data_collator = data_collator or _collator(model, args, processing_class)
        _start_target_norm(model, processing_class, train_dataset)
        train_dataset = _prepare_rows(train_dataset, model, args, processing_class)
        if isinstance(eval_dataset, dict):
            eval_dataset = {
                name: _prepare_rows(rows, model, args, processing_class) for name, rows in eval_dataset.items()
            }
        else:
            eval_dataset = _prepare_rows(eval_dataset, model, args, processing_class)
        super().__init__(
            model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            peft_config=peft_config,
            **kwargs,
        )
        check_tower(unwrap_model(self.accelerator, self.model).model.visual, frozen=True)
        divide_loss_once(self.accelerator)
        # `compute_loss` divides by the tokens and images of a whole optimizer step, over all its micro-batches and
        # processes, so that the loss does not depend on how a step is cut up.
        self.model_accepts_loss_kwargs = True
        self._images_in_batch: torch.Tensor | None = None
        if self.compute_metrics is not None:
            raise InputError("compute_metrics would see the logits of one position: evaluate reports its own metrics")
        self._measured = {mode: DIFTMetrics(self.accelerator, model.config.latent_size) for mode in ("train", "eval")}

    def train(self, *args, **kwargs):
        """TRL's own, with less memory for a tied embedding's gradient, see [`input_gradient_by_rows`]."""
        with input_gradient_by_rows(
            unwrap_model(self.accelerator, self.model), keeps_gradients_in_backward(self.args)
        ):
            return super().train(*args, **kwargs)

    def get_batch_samples(self, epoch_iterator, num_batches: int, device: torch.device):
        """TRL's own, which counts the tokens of a step; counts its images as well."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        images = sum(_images(batch) for batch in batches)
        # A step without imagery divides zero by one.
        self._images_in_batch = self.accelerator.gather(torch.tensor(images, device=device)).sum().clamp(min=1)
        return batches, num_items

    def training_step(self, model, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | None = None):
        """TRL's own; an error names the rows of the step.

        Raises:
            InputError: If the loss is not finite, which would make every weight so, or memory runs out.
        """
        ids = inputs.pop("ids", [])
        try:
            loss = super().training_step(model, inputs, num_items_in_batch)
        except torch.OutOfMemoryError as error:
            lengths = inputs["attention_mask"].sum(1)
            longest = int(lengths.argmax())
            name = ids[longest] if ids else f"{longest + 1} of the batch"
            raise InputError(
                f"out of memory at step {self.state.global_step + 1}, whose longest row is {name} with "
                f"{int(lengths[longest])} tokens: set a smaller per_device_train_batch_size with more "
                "gradient_accumulation_steps, or activation_checkpointing"
            ) from error
        check_finite_loss(self, loss, ids)
        return loss

    def compute_loss(
        self,
        model,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """The DIFT loss of a batch, fed as the settings ask."""
        inputs = {name: value for name, value in inputs.items() if name != "ids"}
        tokens = inputs["attention_mask"].sum()
        feeding = self._feeding(_images(inputs))
        if self.args.pack_rows:
            inputs = pack_batch(inputs, unwrap_model(self.accelerator, model).model.get_rope_index)
        counts, shares, step_share = {}, 1, None
        if num_items_in_batch is not None and self.model.training:
            counts = {"num_items_in_batch": num_items_in_batch, "num_images_in_batch": self._images_in_batch}
            # Processes are averaged afterwards, while the counts are those of all of them.
            shares = self.accelerator.num_processes
            step_share = 1 / (shares * self.current_gradient_accumulation_steps)
        outputs = model(**inputs, **feeding, **counts, use_cache=False, logits_to_keep=1)
        self._measured[self._mode].add(outputs, tokens, step_share)
        loss = outputs.loss * shares
        return (loss, outputs) if return_outputs else loss

    def _feeding(self, images: int) -> dict[str, Any]:
        """The model's arguments for self-feeding; none for teacher forcing, its default."""
        if self.args.self_feeding == "none" or not images:
            return {}
        passes = self.args.self_feed_passes if self.args.self_feeding == "parallel" else None
        feeding = {"self_feeding": SelfFeeding(passes, self.args.self_feed_gradient)}
        share = self._teacher_forcing()
        if self.model.training and share > 0:
            feeding["teacher_forced"] = (torch.rand(images) < share).to(self.accelerator.device)
        return feeding

    def _teacher_forcing(self) -> float:
        """The share of blocks that feed on their targets at this step; none where it is 0 or less."""
        done, until = self.state.global_step, self.args.teacher_forcing_until * self.state.max_steps
        return self.args.teacher_forcing * (1.0 - done / until) if until else 0.0

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        """TRL's own, whose time is not that of training."""
        started = time.perf_counter()
        self._measured["eval"].restart()
        metrics = super().evaluate(eval_dataset, ignore_keys, metric_key_prefix)
        self._measured["train"].leave_out(time.perf_counter() - started)
        return metrics

    def evaluation_loop(self, dataloader, description: str, *args, metric_key_prefix: str = "eval", **kwargs):
        """TRL's own, and free-running responses to the first of the rows, see [`DIFTConfig`]."""
        output = super().evaluation_loop(dataloader, description, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        if description != "Evaluation":
            return output
        measured = self._measured["eval"].read()
        # In the place of a mean over batches, which depends on their size.
        weighted = [getattr(self.args, f"{name}_weight") * measured[name] for name in ("ce_loss", "sim_loss")]
        measured["loss"] = sum(weighted)
        # TRL's own way to log them would give those of several held-out sets the same names.
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in measured.items()})
        rows = dataloader.dataset
        if self.args.eval_generations and isinstance(rows, Dataset):
            shares = self._free_running(rows)
            output.metrics.update({f"{metric_key_prefix}_{name}": share for name, share in shares.items()})
        return output

    def _free_running(self, rows: Dataset) -> dict[str, float]:
        numbers = range(min(self.args.eval_generations, len(rows)))
        mine = rows.select(numbers[self.args.process_index :: self.args.world_size])
        settings = (self.args.per_device_eval_batch_size, self.args.eval_max_new_tokens)
        # An adapter's model decodes inside its wrapper, whose `forward` alone `accelerate` has put under autocast.
        with unwrap_model_for_generation(self.model, self.accelerator), self.accelerator.autocast():
            model = unwrap_model(self.accelerator, self.model)
            counts = free_running_counts(model, self.processing_class, mine, *settings)
        counted = torch.tensor([list(counts.values())], device=self.accelerator.device)
        return free_running_shares(dict(zip(counts, self.accelerator.gather(counted).sum(0).tolist(), strict=True)))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        """TRL's own, with what training has written into the configuration, which is no weight."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = Path(resume_from_checkpoint) / "config.json"
        if file.is_file():
            saved = json.loads(file.read_text(encoding="utf-8"))
            unwrap_model(self.accelerator, self.model).config.latent_target_norm = saved.get("latent_target_norm")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's own, with what was measured since the last log, see [`DIFTMetrics`]."""
        measured = self._measured[self._mode].read()
        self._metrics[self._mode].update({name: [value] for name, value in measured.items()})
        super().log(logs, start_time)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"


def _adopt_and_validate(rows: Any, args: DIFTConfig, masks: bool) -> Any:
    """Rows in our columns, checked before the first step; a stream passes, and its bad rows fail when they come."""
    if isinstance(rows, dict):
        return {name: _adopt_and_validate(one, args, masks) for name, one in rows.items()}
    if not isinstance(rows, Dataset):
        return rows
    return validate_rows(adopt_trl_columns(rows, "dift"), "dift", args.on_bad_row, masks)


def _collator(model: PreTrainedModel, args: DIFTConfig, processor: ProcessorMixin) -> DIFTCollator:
    regions = model.config.latent_pooling == "region"
    return DIFTCollator(
        processor, model.config.latent_size, args.drop_imagery, regions, ids=True, padding_side=args.padding_side
    )


def _start_target_norm(model: PreTrainedModel, processor: ProcessorMixin, rows: Dataset | None) -> None:
    """Measure the targets' length on the first rows, once, so that it is one however steps are cut up."""
    if model.config.latent_norm != "match" or model.config.latent_target_norm is not None or rows is None:
        return
    regions = model.config.latent_pooling == "region"
    lengths = []
    if isinstance(rows, Dataset):
        # Decode nothing but the imagery: the frames of rows that name a video file would be decoded with it.
        columns = [name for name in ("id", "imagery", "imagery_masks") if name in rows.column_names]
        rows = keep_images_encoded(rows.select_columns(columns))
    for row in islice(rows, _ROWS_FOR_NORM):
        batch = encode_row_imagery(processor, [row], regions, model.config.latent_size)
        if batch:
            with gather_weights(model.model.visual):
                targets = model.imagery_targets(**send_to_device(batch, model.device))
            lengths.append(targets.float().norm(dim=-1).flatten())
    if lengths:
        model.config.latent_target_norm = torch.cat(lengths).mean().item()


def _prepare_rows(
    rows: Dataset | None, model: PreTrainedModel, args: DIFTConfig, processor: ProcessorMixin
) -> Dataset | None:
    """Rows whose images wait for the collator, with what is to be known of them before the first step."""
    precompute = args.precompute_targets or args.precompute_videos
    if rows is None or not isinstance(rows, Dataset):
        if rows is not None and (precompute or args.train_sampling_strategy == "group_by_length"):
            raise InputError(
                "rows that stream cannot be looked through first: leave out precompute_targets, precompute_videos and "
                "group_by_length, or load them whole"
            )
        return rows
    rows = keep_images_encoded(rows)
    if args.train_sampling_strategy == "group_by_length" and args.length_column_name not in rows.column_names:
        lengths = row_lengths(rows, processor, model.config.latent_size)
        rows = rows.add_column(args.length_column_name, lengths)
    if precompute:
        precision = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
        with gather_weights(model.model.visual):
            cache = FeatureCache(model, processor, args.feature_cache, precision, args.device)
            if args.precompute_targets and not args.drop_imagery:
                rows = cache.add_targets(rows)
            if args.precompute_videos:
                rows = cache.add_videos(rows)
    return rows


def _images(batch: Mapping[str, Any]) -> int:
    """Imagery frames in a batch, as pixels or as targets."""
    return len(batch.get("image_grid_thw_latent", batch.get("latent_targets", ())))
