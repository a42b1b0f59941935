"""DIFT trainer: supervised fine-tuning with latent imagery, on TRL's SFT trainer."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from peft import PeftConfig, PeftModel
from transformers import DataCollator, ProcessorMixin
from trl import SFTTrainer
from trl.models import unwrap_model_for_generation

from ...modeling.answer_mask import token_roles, unblind
from ...modeling.errors import InputError
from ...modeling.row_rules import lacks_answer
from ...modeling.self_feeding import SelfFeeding
from ..common.adapters import check_tower, complete_lora_config, validate_adapters
from ..common.distributed import weights_are_sharded
from ..common.loading import ModelOrPath, load_parts, name_run
from ..common.loss_division import divide_loss_once
from ..common.nonfinite import check_finite_loss
from ..common.reliable_trainer import ReliableTrainerMixin
from ..common.row_validation import needs_masks
from ..common.tied_embeddings import input_gradient_by_rows, keeps_gradients_in_backward
from ..common.unwrapping import unwrap_model
from .answer_alignment import Alignment, alignment_loss
from .bottleneck import blinded_share, set_bottleneck
from .dift_config import DIFTConfig
from .frozen_tower import FrozenTower
from .generation_eval import free_running_counts, free_running_shares
from .metrics import DIFTMetrics
from .packing import pack_batch
from .preparation import adopt_and_validate, make_collator, prepare_rows
from .sharding_rules import check_sharding, most_blocks
from .target_readout import TargetReadout, attach_readout, detach_readout, load_readout, save_readout
from .target_statistics import ROWS_FOR_READOUT, first_targets, start_target_norm


class DIFTTrainer(ReliableTrainerMixin, SFTTrainer):
    """TRL's [`~trl.SFTTrainer`] with the DIFT loss on rows that hold imagery.

    The vision tower is frozen by default: it gives the targets. Beside the published stage, which feeds the targets at
    the latent pads, there is a self-fed one, see [`DIFTConfig`].

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
        if isinstance(model, PeftModel):
            raise InputError("the model has an adapter already: give the model without it, and peft_config")
        if kwargs.get("compute_loss_func") is not None:
            raise InputError("compute_loss_func would take the place of DIFT's loss: leave it out")
        args = args or DIFTConfig(name_run(model, "DIFT"))
        masks = needs_masks(args, model)
        train_dataset, eval_dataset = (adopt_and_validate(rows, args, masks) for rows in (train_dataset, eval_dataset))
        model, processing_class = load_parts(model, args, processing_class)
        self._exact_passes = None
        if weights_are_sharded(args):
            held_out = eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]
            datasets = [rows for rows in (train_dataset, *held_out) if isinstance(rows, Dataset)]
            check_sharding(args, datasets)
            if args.self_feeding == "exact" and isinstance(train_dataset, IterableDataset):
                raise InputError(
                    "weights are sharded (FSDP or ZeRO-3), and the latents of rows that stream cannot be counted: set "
                    "self_feeding to parallel, or load the rows whole"
                )
            # One number for all: a process with more passes than the others would wait for them forever.
            self._exact_passes = model.config.latent_size * most_blocks(datasets)
            model.tiled_loss = False
        peft_config = complete_lora_config(peft_config, model.config, spare_tower=args.freeze_vision)
        if peft_config is not None:
            validate_adapters([peft_config], model)
        model.model.freeze_vision()
        for name in ("ce_loss_weight", "sim_loss_weight", "latent_loss", "latent_norm", "latent_pooling"):
            if getattr(args, name) is not None:
                setattr(model.config, name, getattr(args, name))
        set_bottleneck(model, args, processing_class, train_dataset)
        # Another collator may look at the frames of rows whose features are precomputed, and so do generations.
        needs_clips = data_collator is not None
        data_collator = data_collator or make_collator(model, args, processing_class)
        start_target_norm(model, processing_class, train_dataset, args.device)
        detach_readout(model)  # of an earlier trainer
        if args.target_readout:
            targets = first_targets(model, processing_class, train_dataset, ROWS_FOR_READOUT, args.device)
            attach_readout(model, TargetReadout(targets))
        self._frozen_tower = None
        if not (args.freeze_vision or args.precompute_targets or args.drop_imagery):
            self._frozen_tower = FrozenTower(model)
        train_dataset = prepare_rows(train_dataset, model, args, processing_class, needs_clips)
        needs_clips = needs_clips or args.eval_generations > 0
        if isinstance(eval_dataset, dict):
            eval_dataset = {
                name: prepare_rows(rows, model, args, processing_class, needs_clips)
                for name, rows in eval_dataset.items()
            }
        else:
            eval_dataset = prepare_rows(eval_dataset, model, args, processing_class, needs_clips)
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
        self._unfreeze(adapted=peft_config is not None)
        divide_loss_once(self.accelerator)
        # `compute_loss` divides by the tokens and images of a whole optimizer step, over all its micro-batches and
        # processes, so that the loss does not depend on how a step is cut up.
        self.model_accepts_loss_kwargs = True
        self._images_in_batch: torch.Tensor | None = None
        self._answers_in_batch: torch.Tensor | None = None
        self._draws = (-1, 0)  # step, and draws in it so far
        if self.compute_metrics is not None:
            raise InputError("compute_metrics would see the logits of one position: evaluate reports its own metrics")
        measured = (self.accelerator, model.config.latent_size, args.alignment_loss_weight > 0)
        self._measured = {mode: DIFTMetrics(*measured) for mode in ("train", "eval")}

    def _unfreeze(self, adapted: bool) -> None:
        """Let train what the settings train beside the language model, also inside an adapter's wrapper."""
        model = unwrap_model(self.accelerator, self.model)
        if not (self.args.freeze_vision or adapted):
            model.model.visual.requires_grad_(True)
        check_tower(model.model.visual, self.args.freeze_vision)
        if self.args.target_readout:
            model.target_readout.requires_grad_(True)

    def train(self, *args, **kwargs):
        """TRL's own, with less memory for a tied embedding's gradient, see [`input_gradient_by_rows`]."""
        with input_gradient_by_rows(
            unwrap_model(self.accelerator, self.model), keeps_gradients_in_backward(self.args)
        ):
            return super().train(*args, **kwargs)

    def get_batch_samples(self, epoch_iterator, num_batches: int, device: torch.device):
        """TRL's own, which counts the tokens of a step; counts its images and answers as well."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        images = sum(_images(batch) for batch in batches)
        answers = sum(int(batch["answer_mask"].sum()) for batch in batches if "answer_mask" in batch)
        counts = self.accelerator.gather(torch.tensor([[images, answers]], device=device)).sum(0)
        # A step without imagery divides zero by one.
        self._images_in_batch, self._answers_in_batch = counts.clamp(min=1)
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
            if self.args.auto_find_batch_size:
                raise  # accelerate catches it, and tries a smaller batch
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
        inputs.update(self._roles(inputs))
        if self.args.pack_rows:
            inputs = pack_batch(inputs, unwrap_model(self.accelerator, model).model.get_rope_index)
        if self._frozen_tower is not None:
            with self.accelerator.autocast():
                inputs = self._frozen_tower.encode_imagery(inputs)
        answers = inputs.pop("answer_mask", None)
        if self.args.alignment_loss_weight and answers is None:
            raise InputError("alignment_loss_weight needs an answer_mask in batches: use DIFTCollator(answers=True)")
        counts, shares, step_share = {}, 1, None
        if num_items_in_batch is not None and self.model.training:
            counts = {"num_items_in_batch": num_items_in_batch, "num_images_in_batch": self._images_in_batch}
            # Processes are averaged afterwards, while the counts are those of all of them.
            shares = self.accelerator.num_processes
            step_share = 1 / (shares * self.current_gradient_accumulation_steps)
        settings = {"use_cache": False, "logits_to_keep": 1, "layer_states_at": answers if feeding else None}
        outputs = model(**inputs, **feeding, **counts, **settings)
        loss, alignment = outputs.loss, None
        if outputs.layer_states is not None:
            alignment = self._align(model, inputs, settings, outputs.layer_states, step_share is not None)
            loss = loss + self.args.alignment_loss_weight * alignment.loss
        self._measured[self._mode].add(outputs, tokens, step_share, alignment)
        loss = loss * shares
        return (loss, outputs) if return_outputs else loss

    def _align(
        self, model, inputs: dict[str, Any], settings: dict[str, Any], states: torch.Tensor, in_step: bool
    ) -> Alignment:
        """Compare the states `(layers, answers, hidden)` before the answers with those that true imagery leads to."""
        without_labels = {name: value for name, value in inputs.items() if name != "labels"}
        with torch.no_grad():
            teacher = model(**without_labels, **settings).layer_states
        count = states.shape[1]
        total = self._answers_in_batch if in_step else max(count, 1)
        return Alignment(alignment_loss(states, teacher).sum() / total, count)

    def _feeding(self, images: int) -> dict[str, Any]:
        """The model's arguments for self-feeding; none for teacher forcing, its default."""
        if self.args.self_feeding == "none" or not images:
            return {}
        if self.args.self_feeding == "exact":
            settings = SelfFeeding(self._exact_passes, gradient=None)
        else:
            passes = {"parallel": self.args.self_feed_passes, "pads": 0}.get(self.args.self_feeding)
            settings = SelfFeeding(passes, self.args.self_feed_gradient)
        feeding: dict[str, Any] = {"self_feeding": settings}
        share = self._teacher_forcing()
        if self.model.training and share > 0:
            feeding["teacher_forced"] = (self._draw_shares(images) < share).to(self.accelerator.device)
        return feeding

    def _roles(self, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """The model's argument for the answer bottleneck; some rows of a training batch go without."""
        config = unwrap_model(self.accelerator, self.model).config
        if config.answer_sees != "latents":
            return {}
        roles = token_roles(inputs["input_ids"], config, inputs["attention_mask"])
        if self.model.training:
            share = blinded_share(self.args, self.state.global_step, self.state.max_steps)
            roles = unblind(roles, (self._draw_shares(len(roles)) >= share).to(roles.device))
            self._metrics["train"]["answer_blinding"] = [share]
        return {"roles": roles}

    def _draw_shares(self, count: int) -> torch.Tensor:
        """Numbers between 0 and 1 that differ between processes, though these share a seed, and not after resuming."""
        step = self.state.global_step
        self._draws = (step, self._draws[1] + 1 if self._draws[0] == step else 0)
        seed = (abs(self.args.seed), self.accelerator.process_index, *self._draws)
        return torch.from_numpy(np.random.default_rng(seed).random(count))

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
        parts = [name for name in ("ce_loss", "sim_loss", "alignment_loss") if name in measured]
        weighted = [getattr(self.args, f"{name}_weight") * measured[name] for name in parts]
        measured["loss"] = sum(weighted)
        # TRL's own way to log them would give those of several held-out sets the same names.
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in measured.items()})
        rows = dataloader.dataset
        if self.args.eval_generations and isinstance(rows, Dataset):
            answered = [number for number, text in enumerate(rows["response"]) if not lacks_answer(text)]
            shares = self._free_running(rows.select(answered)) if answered else {}
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
        load_readout(unwrap_model(self.accelerator, self.model), Path(resume_from_checkpoint))
        file = Path(resume_from_checkpoint) / "config.json"
        if file.is_file():
            saved = json.loads(file.read_text(encoding="utf-8"))
            unwrap_model(self.accelerator, self.model).config.latent_target_norm = saved.get("latent_target_norm")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """TRL's own, with the read-out, which only training needs, beside them."""
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            save_readout(unwrap_model(self.accelerator, self.model), Path(output_dir))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's own, with what was measured since the last log, see [`DIFTMetrics`]."""
        measured = self._measured[self._mode].read()
        self._metrics[self._mode].update({name: [value] for name, value in measured.items()})
        super().log(logs, start_time)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"


def _images(batch: Mapping[str, Any]) -> int:
    """Imagery frames in a batch, as pixels or as targets."""
    return len(batch.get("image_grid_thw_latent", batch.get("latent_targets", ())))
