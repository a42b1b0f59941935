"""Model mixins for latents over the stock classes of any Qwen-VL family."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_outputs import CausalLMOutputWithPast

from .answer_mask import mask_answers, to_attention_argument
from .cache_name import CACHE_NAME, pick_cache
from .errors import InputError
from .generation_latent import LatentGenerationMixin
from .latent_loss import dift_loss
from .latent_norm import match_norm
from .latent_pooling import pool_features
from .latent_rules import check_no_pads, inject_latents
from .rope_positions import GRIDS, position_deltas, qwen_positions, token_types
from .saving import SavingMixin
from .self_feeding import SelfFeeding, run_self_fed
from .tower_features import pass_features_as_pixels


@dataclass
class LatentCausalLMOutput(CausalLMOutputWithPast):
    """Output of a model with latents.

    Attributes:
        loss (`torch.Tensor`): The weighted DIFT loss, if labels or imagery were given.
        ce_loss (`torch.Tensor`): Its cross entropy, not weighted.
        sim_loss (`torch.Tensor`): Its latents' loss, not weighted.
        logits (`torch.Tensor` of shape `(batch, kept, vocabulary)`): Scores at the positions of `logits_to_keep`.
        last_hidden_state (`torch.Tensor` of shape `(batch, kept, hidden)`): States after the final norm, there too.
        correct_tokens, supervised_tokens, cosine, norm_ratio: See [`DIFTLoss`].
        latent_embeds (`torch.Tensor` of shape `(latents, hidden)`): What was fed at the latent pads, if anything was.
        layer_states (`torch.Tensor` of shape `(layers, chosen, hidden)`): States after each decoder layer at the
            positions of `layer_states_at`.
    """

    ce_loss: torch.Tensor | None = None
    sim_loss: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None
    correct_tokens: torch.Tensor | None = None
    supervised_tokens: torch.Tensor | None = None
    cosine: torch.Tensor | None = None
    norm_ratio: torch.Tensor | None = None
    latent_embeds: torch.Tensor | None = None
    layer_states: torch.Tensor | None = None


class LatentModelMixin:
    """Over the inner model, such as `Qwen2_5_VLModel`: trainers call it alone, so latents enter here."""

    def __init__(self, config):
        super().__init__(config)
        self.freeze_vision()
        # Which arguments there are differs between families and versions. Asked once: a compiled forward cannot.
        stock = super()
        self._known = {
            name: frozenset(inspect.signature(getattr(stock, name)).parameters)
            for name in ("forward", "compute_3d_position_ids", "get_rope_index")
        }

    def freeze_vision(self) -> None:
        """No gradient for the vision tower, whose features are targets; `visual.requires_grad_(True)` undoes it."""
        self.visual.requires_grad_(False)

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        cache=None,
        inputs_embeds: torch.Tensor | None = None,
        latent_embeds: torch.Tensor | None = None,
        mm_token_type_ids: torch.IntTensor | None = None,
        states_to_keep: torch.LongTensor | None = None,
        roles: torch.LongTensor | None = None,
        past_key_values=None,
        **kwargs,
    ):
        """The stock forward, with latents in the place of the embeddings at latent pads.

        Args:
            latent_embeds (`torch.Tensor`, *optional*): Packed or dense latents, see [`inject_latents`]. Needed
                wherever `input_ids` hold latent pads.
            mm_token_type_ids (`torch.IntTensor` of shape `(batch, length)`, *optional*):
                0 text, 1 image, 2 video; rebuilt from the ids where absent.
            states_to_keep (`torch.LongTensor` of shape `(kept,)`, *optional*):
                Positions whose states are wanted, counted row after row; `last_hidden_state` is then
                `(1, kept, hidden)`.
            roles (`torch.LongTensor` of shape `(batch, cached + length)`, *optional*):
                With `answer_sees="latents"`, what `token_roles` gives for all columns; by default it is read off
                `input_ids`, which must then be whole rows. Needed behind a cache, and for packed rows.
            attention_mask: Also `(batch, 1, length, cached + length)` of booleans, for any kind of attention.
            past_key_values: The name of `cache` before transformers 5.24.
            kwargs: As in transformers, like the other arguments; every version takes `mm_encoder_outputs`.

        Raises:
            InputError: If there are not as many latents as latent pads, or pads and no latents at all; if the mask of
                `answer_sees="latents"` cannot be made.
        """
        cache = pick_cache(cache, past_key_values)
        has_grid = kwargs.get("image_grid_thw") is not None or kwargs.get("video_grid_thw") is not None
        if mm_token_type_ids is None and input_ids is not None and has_grid:
            mm_token_type_ids = token_types(input_ids, self.config)
        types = {"mm_token_type_ids": mm_token_type_ids}
        if roles is not None or self.config.answer_sees == "latents":
            if position_ids is None and input_ids is not None:
                like = input_ids[..., None]  # of the embeddings only shape and device matter
                position_ids = self._positions(input_ids, like, attention_mask, cache, {**kwargs, **types})
            length = (inputs_embeds if input_ids is None else input_ids).shape[1]
            cached = 0 if cache is None else cache.get_seq_length()
            masked = (input_ids, attention_mask, position_ids, cached, roles)
            attention_mask = mask_answers(self.config, length, *masked)
        attention_mask = to_attention_argument(attention_mask, self.config, self.dtype)
        if latent_embeds is not None:
            if input_ids is None:
                raise InputError("latent_embeds need input_ids, which say where the latent pads are")
            if inputs_embeds is None:
                inputs_embeds = self.get_input_embeddings()(input_ids)
            inputs_embeds = inject_latents(inputs_embeds, input_ids == self.config.latent_token_id, latent_embeds)
            if position_ids is None:
                position_ids = self._positions(input_ids, inputs_embeds, attention_mask, cache, {**kwargs, **types})
            # Some families take ids or embeddings, never both; visual pads are found by their embedding then.
            input_ids = None
        elif input_ids is not None:
            check_no_pads(input_ids, self.config.latent_token_id)
        if "mm_encoder_outputs" not in self._known["forward"]:
            kwargs = pass_features_as_pixels(kwargs)
        outputs = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            **{CACHE_NAME: cache},
            **self._select_known("forward", types),
            **kwargs,
        )
        if states_to_keep is not None:
            states = outputs.last_hidden_state.flatten(0, 1)
            outputs.last_hidden_state = states.index_select(0, states_to_keep.to(states.device))[None]
        return outputs

    def _select_known(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Select the arguments that the stock class's method takes."""
        return {name: value for name, value in arguments.items() if name in self._known[method]}

    def _positions(self, input_ids, inputs_embeds, attention_mask, cache, vision: dict) -> torch.LongTensor:
        """The stock positions, for which the stock forward would need the ids; those of plain text elsewhere."""
        names = (*GRIDS, "mm_token_type_ids")
        past = 0 if cache is None else cache.get_seq_length()
        positions = None
        # A text without a past has none of the deltas that the stock method keeps of the last prompt.
        if vision.get("image_grid_thw") is not None or vision.get("video_grid_thw") is not None or past:
            positions = self.compute_3d_position_ids(
                input_ids=input_ids,
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                **{CACHE_NAME: cache},
                **self._select_known("compute_3d_position_ids", {name: vision.get(name) for name in names}),
            )
        if positions is None:
            counted = torch.arange(past, past + input_ids.shape[1], device=inputs_embeds.device)
            positions = counted.expand(3, input_ids.shape[0], -1)
        return positions

    def get_rope_index(
        self,
        input_ids: torch.LongTensor,
        mm_token_type_ids: torch.IntTensor | None = None,
        image_grid_thw: torch.LongTensor | None = None,
        video_grid_thw: torch.LongTensor | None = None,
        second_per_grid_ts: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> tuple[torch.LongTensor, torch.LongTensor]:
        """Positions and their deltas by the configuration's `position_rule`; see [`qwen_positions`].

        The ids alone say what is text: some versions' processors leave videos out of `mm_token_type_ids`.
        """
        mm_token_type_ids = token_types(input_ids, self.config)
        if self.config.position_rule == "transformers":
            if second_per_grid_ts is not None:
                kwargs["second_per_grid_ts"] = second_per_grid_ts
            positions, _ = super().get_rope_index(
                input_ids,
                **self._select_known("get_rope_index", {"mm_token_type_ids": mm_token_type_ids}),
                image_grid_thw=image_grid_thw,
                video_grid_thw=video_grid_thw,
                attention_mask=attention_mask,
                **kwargs,
            )
            # Some versions' deltas count padding as tokens, which those who add them to a count of tokens do not.
            return positions, position_deltas(positions, attention_mask)
        vision = self.config.vision_config
        return qwen_positions(
            input_ids,
            mm_token_type_ids,
            image_grid_thw,
            video_grid_thw,
            second_per_grid_ts,
            attention_mask=attention_mask,
            spatial_merge_size=vision.spatial_merge_size,
            tokens_per_second=vision.tokens_per_second,
        )

    # `generate` passes on the arguments that these two name.
    def get_image_features(self, pixel_values: torch.Tensor, image_grid_thw=None, **kwargs):
        """The stock features; those of a frozen tower never carry a graph, whatever makes its inputs ask for one.

        Features in the place of pixels are given back, see [`pass_features_as_pixels`].
        """
        if not isinstance(pixel_values, torch.Tensor):
            return pixel_values
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._vision_trains):
            return super().get_image_features(pixel_values, image_grid_thw, **kwargs)

    def get_video_features(self, pixel_values_videos: torch.Tensor, video_grid_thw=None, **kwargs):
        """As for images."""
        if not isinstance(pixel_values_videos, torch.Tensor):
            return pixel_values_videos
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._vision_trains):
            return super().get_video_features(pixel_values_videos, video_grid_thw, **kwargs)

    @property
    def _vision_trains(self) -> bool:
        return any(weight.requires_grad for weight in self.visual.parameters())

    def train(self, mode: bool = True):
        """Training mode for all but a frozen vision tower, whose features must not vary.

        A tower that trains must be in it: only there are its activations computed again in the backward pass.
        """
        super().train(mode)
        self.visual.train(mode and self._vision_trains)
        return self


class LatentCausalLMMixin(SavingMixin, LatentGenerationMixin):
    """Over the outer model, such as `Qwen2_5_VLForConditionalGeneration`: loss, targets, generation, saving."""

    # The loss is a mean over this micro-batch, so `Trainer` divides it by the accumulation steps.
    accepts_loss_kwargs = False
    # See `dift_loss`. Where processes hold a part of the head's weights each, all must run it equally often.
    tiled_loss = True

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        cache=None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        pixel_values: torch.Tensor | None = None,
        pixel_values_videos: torch.Tensor | None = None,
        image_grid_thw: torch.LongTensor | None = None,
        video_grid_thw: torch.LongTensor | None = None,
        mm_token_type_ids: torch.IntTensor | None = None,
        second_per_grid_ts: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        mm_encoder_outputs: dict | None = None,
        pixel_values_latent: torch.Tensor | None = None,
        image_grid_thw_latent: torch.LongTensor | None = None,
        latent_masks: torch.Tensor | None = None,
        latent_targets: torch.Tensor | None = None,
        latent_embeds: torch.Tensor | None = None,
        self_feeding: SelfFeeding | None = None,
        teacher_forced: torch.Tensor | None = None,
        num_items_in_batch: int | torch.Tensor | None = None,
        num_images_in_batch: int | torch.Tensor | None = None,
        layer_states_at: torch.Tensor | None = None,
        return_dict: bool | None = None,
        past_key_values=None,
        **kwargs,
    ) -> LatentCausalLMOutput | tuple:
        """The stock forward with latents.

        Args:
            labels (`torch.LongTensor` of shape `(batch, length)`, *optional*): As in transformers.
            pixel_values_latent (`torch.Tensor` of shape `(patches, patch values)`, *optional*):
                Imagery frames, one for each latent block, row after row. Their pooled features are fed at the latent
                pads (teacher forcing) and are the targets of the latents' loss.
            image_grid_thw_latent (`torch.LongTensor` of shape `(images, 3)`, *optional*): Their grids in patches.
            latent_masks (`torch.BoolTensor` of shape `(visual tokens,)`, *optional*):
                Where the imagery shows what is meant, for `latent_pooling="region"`; see `encode_imagery`.
            latent_targets (`torch.Tensor` of shape `(images, latent_size, hidden)`, *optional*):
                What [`~LatentCausalLMMixin.imagery_targets`] made of the frames before, in their place.
            latent_embeds (`torch.Tensor` of shape `(latents, hidden)`, *optional*):
                Vectors to feed at the latent pads: recorded ones (replay). With imagery too, these are fed and the
                imagery is targets only. Ids with latent pads need these, or imagery.
            self_feeding ([`SelfFeeding`], *optional*): Feed the rows' own latents in the place of the targets.
            teacher_forced (`torch.BoolTensor` of shape `(images,)`, *optional*): The blocks that it leaves their
                targets.
            logits_to_keep (`int` or `torch.Tensor`, *optional*, defaults to 0):
                As in transformers; the loss does not depend on it, so 1 saves the logits of a training step.
            num_items_in_batch, num_images_in_batch (`int` or `torch.Tensor`, *optional*): See [`dift_loss`].
            layer_states_at (`torch.BoolTensor` of shape `(batch, length)`, *optional*): Positions whose states are
                returned for every layer.
            past_key_values: The name of `cache` before transformers 5.24.
            kwargs: As in transformers, like the other arguments.

        Returns:
            [`LatentCausalLMOutput`].

        Raises:
            InputError: If there are not as many latents as latent pads, or pads and no latents at all.
        """
        inputs = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "position_ids": position_ids,
            "mm_token_type_ids": mm_token_type_ids,
            "pixel_values": pixel_values,
            "pixel_values_videos": pixel_values_videos,
            "image_grid_thw": image_grid_thw,
            "video_grid_thw": video_grid_thw,
            "second_per_grid_ts": second_per_grid_ts,
            "mm_encoder_outputs": mm_encoder_outputs,
            **kwargs,
        }
        inputs = {name: value for name, value in inputs.items() if value is not None}
        if layer_states_at is not None:
            inputs["output_hidden_states"] = True
        if pixel_values_latent is not None:
            latent_targets = self.imagery_targets(pixel_values_latent, image_grid_thw_latent, latent_masks)
        cache, outputs = pick_cache(cache, past_key_values), None
        if latent_targets is not None and latent_embeds is None:
            latent_embeds = latent_targets.flatten(0, 1)
            if self_feeding is not None:
                inputs = self.encode_vision(inputs)
                latent_embeds, outputs = run_self_fed(self, inputs, latent_targets, self_feeding, teacher_forced)
        if outputs is None:
            outputs = self.model(
                **inputs, cache=cache, inputs_embeds=inputs_embeds, use_cache=use_cache, latent_embeds=latent_embeds
            )
        states = outputs.last_hidden_state
        loss = {}
        if labels is not None or latent_targets is not None:
            counts = (num_items_in_batch, num_images_in_batch)
            loss = self._compute_loss(states, input_ids, labels, latent_targets, *counts)
        layer_states = None
        if layer_states_at is not None:
            layer_states = torch.stack([layer[layer_states_at] for layer in outputs.hidden_states[1:]])
            outputs.hidden_states = None
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        states = states[:, kept]
        output = LatentCausalLMOutput(
            **loss,
            logits=self.lm_head(states),
            **{CACHE_NAME: getattr(outputs, CACHE_NAME, None)},
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            last_hidden_state=states,
            latent_embeds=latent_embeds,
            layer_states=layer_states,
        )
        return output.to_tuple() if return_dict is False else output

    def _compute_loss(self, states, input_ids, labels, targets, num_items, num_images) -> dict[str, torch.Tensor]:
        """The parts of [`DIFTLoss`] under the names that [`LatentCausalLMOutput`] has for them."""
        readout = getattr(self, "target_readout", None)  # a trainer's, see `TargetReadout`
        if readout is not None and targets is None:
            targets = states.new_zeros(0, self.config.latent_size, states.shape[-1])  # its weights stay in the graph
        loss = dift_loss(
            states,
            input_ids,
            labels,
            targets,
            self.lm_head,
            self.config.latent_token_id,
            self.config.ce_loss_weight,
            self.config.sim_loss_weight,
            num_items,
            num_images,
            self.config.latent_loss,
            self.tiled_loss,
            readout,
        )
        renamed = {"total": "loss", "ce": "ce_loss", "sim": "sim_loss"}
        return {renamed.get(name, name): value for name, value in loss._asdict().items()}

    def encode_vision(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Features in the place of pixels: one run of the tower for many passes."""
        inputs = dict(inputs)
        features = dict(inputs.get("mm_encoder_outputs", {}))
        if "pixel_values" in inputs:
            pixels = inputs.pop("pixel_values")
            features["image"] = self.model.get_image_features(pixels, inputs["image_grid_thw"], return_dict=True)
        if "pixel_values_videos" in inputs:
            pixels = inputs.pop("pixel_values_videos")
            features["video"] = self.model.get_video_features(pixels, inputs["video_grid_thw"], return_dict=True)
        return {**inputs, "mm_encoder_outputs": features} if features else inputs

    @torch.no_grad()
    def imagery_targets(
        self,
        pixel_values_latent: torch.Tensor,
        image_grid_thw_latent: torch.LongTensor,
        latent_masks: torch.BoolTensor | None = None,
    ) -> torch.Tensor:
        """The vision tower's features of imagery frames, pooled to the latents of a block; without gradient.

        Args:
            pixel_values_latent (`torch.Tensor` of shape `(patches, patch values)`): Imagery frames.
            image_grid_thw_latent (`torch.LongTensor` of shape `(images, 3)`): Their grids in patches.
            latent_masks (`torch.BoolTensor` of shape `(visual tokens,)`, *optional*): For `latent_pooling="region"`.

        Returns:
            `torch.Tensor` of shape `(images, latent_size, hidden)`.
        """
        encoded = self.model.get_image_features(pixel_values_latent, image_grid_thw_latent, return_dict=True)
        merge = self.config.vision_config.spatial_merge_size
        grids = [(height // merge, width // merge) for _, height, width in image_grid_thw_latent.tolist()]
        return pool_features(
            encoded.pooler_output, self.config.latent_size, self.config.latent_pooling, grids, latent_masks
        )

    def to_feedback(self, states: torch.Tensor) -> torch.Tensor:
        """Convert predicted states to input embeddings of latent pads `(..., hidden)`, by `latent_norm`.

        Raises:
            InputError: If their length should match that of targets which the model has never been trained on.
        """
        if self.config.latent_norm == "none":
            return states
        if self.config.latent_target_norm is None:
            raise InputError(
                'latent_norm is "match" but no length of targets is known: train the model with it, or set '
                "config.latent_target_norm"
            )
        return match_norm(states, self.config.latent_target_norm)

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """transformers' own, which makes new parameters; the vision tower's are frozen again."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.model.freeze_vision()
        return loaded
