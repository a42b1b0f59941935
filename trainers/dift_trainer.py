"""DIFT: supervised training in which a model learns to imagine."""

from typing import Any

import torch
from transformers import PreTrainedModel, ProcessorMixin
from trl import SFTTrainer

from .dift_collator import DIFTCollator
from .dift_config import DIFTConfig


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
        model.model.visual.requires_grad_(False)
        for name in ("ce_loss_weight", "sim_loss_weight", "latent_norm", "latent_pooling"):
            if getattr(args, name) is not None:
                setattr(model.config, name, getattr(args, name))
        regions = model.config.latent_pooling == "region"
        collator = DIFTCollator(processing_class, model.config.latent_size, args.drop_imagery, regions)
        kwargs.setdefault("data_collator", collator)
        super().__init__(model, args=args, processing_class=processing_class, **kwargs)

    def compute_loss(
        self,
        model,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ):
        """The DIFT loss of a batch, with the latents that the settings ask for."""
        inputs = self._with_encoded_video(dict(inputs))
        outputs = model(**inputs, **self._latents(inputs), use_cache=False, logits_to_keep=1)
        mode = "train" if self.model.training else "eval"
        for part in ("ce_loss", "sim_loss"):
            self._metrics[mode][part].append(self.accelerator.gather(getattr(outputs, part).detach()).mean().item())
        return (outputs.loss, outputs) if return_outputs else outputs.loss

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
