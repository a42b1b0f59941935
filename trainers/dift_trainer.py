"""DIFT: supervised training in which a model learns to imagine."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin
from trl import SFTTrainer

from ..modeling.atomic import atomic_path
from ..modeling.errors import InputError
from .dift_collator import DIFTCollator
from .dift_config import DIFTConfig
from .dift_metrics import DIFTMetrics


class DIFTTrainer(SFTTrainer):
    """TRL's [`~trl.SFTTrainer`] with the DIFT loss on rows that hold imagery.

    The vision tower is frozen: it gives the targets. Beside the published stage, which feeds the targets at the latent
    pads, there is a self-fed one, see [`DIFTConfig`].

    Args:
        model ([`FourDThinkerForConditionalGeneration`]): The model to train.
        args ([`DIFTConfig`]): Settings.
        processing_class: The model's processor.
        kwargs: As in TRL; `data_collator` defaults to [`DIFTCollator`].

    Example:

    ```python
    model, processor = load_model("backbone")
    rows = load_dataset("data", "dift", split="train")
    DIFTTrainer(model, args=DIFTConfig("out"), train_dataset=rows, processing_class=processor).train()
    ```
    """

    _tag_names = ["fourdthinker", "dift"]

    def __init__(self, model: PreTrainedModel, args: DIFTConfig, processing_class: ProcessorMixin, **kwargs):
        model.model.freeze_vision()
        for name in ("ce_loss_weight", "sim_loss_weight", "latent_norm", "latent_pooling"):
            if getattr(args, name) is not None:
                setattr(model.config, name, getattr(args, name))
        regions = model.config.latent_pooling == "region"
        collator = DIFTCollator(processing_class, model.config.latent_size, args.drop_imagery, regions, ids=True)
        kwargs.setdefault("data_collator", collator)
        super().__init__(model, args=args, processing_class=processing_class, **kwargs)
        # `compute_loss` divides by the tokens and images of a whole optimizer step, over all its micro-batches and
        # processes, so that the loss does not depend on how a step is cut up.
        self.model_accepts_loss_kwargs = True
        self._images_in_batch: torch.Tensor | None = None
        self._measured = {mode: DIFTMetrics(self.accelerator, model.config.latent_size) for mode in ("train", "eval")}

    def get_batch_samples(self, epoch_iterator, num_batches: int, device: torch.device):
        """TRL's own, which counts the tokens of a step; counts its images as well."""
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        images = sum(len(batch.get("image_grid_thw_latent", ())) for batch in batches)
        # A step without imagery divides nought by one.
        counted = self.accelerator.gather(torch.tensor(images, device=device)).sum().clamp(min=1)
        self._images_in_batch = counted if num_items is not None else None
        return batches, num_items

    def training_step(self, model, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | None = None):
        """TRL's own; one that cannot go on says at which rows.

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
                "gradient_accumulation_steps, or gradient_checkpointing"
            ) from error
        if not torch.isfinite(loss):
            raise InputError(self._told_of_bad_loss(float(loss), ids))
        return loss

    def _told_of_bad_loss(self, loss: float, ids: list[str]) -> str:
        step = self.state.global_step + 1
        file = Path(self.args.output_dir) / f"loss-{step}-{self.args.process_index}.json"
        with atomic_path(file) as temporary:
            temporary.write_text(json.dumps({"step": step, "loss": str(loss), "ids": ids}) + "\n", encoding="utf-8")
        return (
            f"the loss of step {step} is {loss}: the ids of its rows are in {file}; look at them, or lower the "
            "learning rate"
        )

    def compute_loss(
        self,
        model,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """The DIFT loss of a batch, with the latents that the settings ask for."""
        inputs = self._with_encoded_video({name: value for name, value in inputs.items() if name != "ids"})
        counts, shares = {}, 1
        if num_items_in_batch is not None:
            counts = {"num_items_in_batch": num_items_in_batch, "num_images_in_batch": self._images_in_batch}
            # Processes are averaged afterwards, while the counts are those of all of them.
            shares = self.accelerator.num_processes
        outputs = model(**inputs, **self._latents(inputs), **counts, use_cache=False, logits_to_keep=1)
        step_share = 1 / (shares * self.current_gradient_accumulation_steps) if counts else 1
        self._measured[self._mode].add(outputs, inputs["attention_mask"], step_share)
        loss = outputs.loss * shares
        return (loss, outputs) if return_outputs else loss

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model=None) -> None:
        """TRL's own, with what training has written into the configuration, which is no weight."""
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        file = Path(resume_from_checkpoint) / "config.json"
        if file.is_file():
            saved = json.loads(file.read_text(encoding="utf-8"))
            self.accelerator.unwrap_model(self.model).config.latent_target_norm = saved.get("latent_target_norm")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """TRL's own, with what was measured since the last log, see [`DIFTMetrics`]."""
        self._metrics[self._mode].update({name: [value] for name, value in self._measured[self._mode].read().items()})
        super().log(logs, start_time)

    @property
    def _mode(self) -> str:
        return "train" if self.model.training else "eval"

    def _with_encoded_video(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Run the frozen tower once, however many passes there are."""
        base = self.accelerator.unwrap_model(self.model)
        with torch.no_grad():
            encoded = base.model.get_video_features(
                inputs.pop("pixel_values_videos"), inputs["video_grid_thw"], return_dict=True
            )
        return {**inputs, "mm_encoder_outputs": {"video": encoded}}

    def _latents(self, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
        """What to feed at the latent pads: by default nothing of our own, so that the model feeds its targets."""
        if "pixel_values_latent" not in inputs or self.args.self_feed_passes == 0:
            return {}
        base = self.accelerator.unwrap_model(self.model)
        names = ("pixel_values_latent", "image_grid_thw_latent", "latent_masks")
        fed = base.imagery_targets(**{name: inputs[name] for name in names if name in inputs}).flatten(0, 1)
        inner = {name: value for name, value in inputs.items() if name not in ("labels", *names)}
        pads = inputs["input_ids"] == base.config.latent_token_id
        for left in reversed(range(self.args.self_feed_passes)):
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.args.self_feed_gradient and left == 0):
                states = base.model(**inner, latent_embeds=fed, use_cache=False).last_hidden_state
                fed = base.fed_back(states[:, :-1][pads[:, 1:]])
        return {"latent_embeds": fed}
