"""Latents in a forward pass: they replace the embeddings of pads, and change nothing else."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DynamicCache

from fourdthinker.modeling.errors import InputError
from fourdthinker.modeling.latent_rules import check_no_pads

LATENT_SIZE = 4


@pytest.fixture
def image_prompt(tiny_processor):
    """One question about two images of different sizes."""
    draw = np.random.default_rng(2)
    sizes = ((64, 96), (96, 96))
    images = [Image.fromarray(draw.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]
    content = [{"type": "image"}, {"type": "image"}, {"type": "text", "text": "Which ball is red?"}]
    text = tiny_processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    return tiny_processor(text=[text], images=images, return_tensors="pt")


def with_tokens(inputs, tokens):
    """The same inputs with more tokens at the end of its only row."""
    more = torch.tensor([tokens])
    grown = {"input_ids": more, "attention_mask": torch.ones_like(more), "mm_token_type_ids": torch.zeros_like(more)}
    known = {name: added for name, added in grown.items() if name in inputs}
    return {**inputs, **{name: torch.cat([inputs[name], added.to(inputs[name])], 1) for name, added in known.items()}}


@pytest.mark.parametrize("kind", ["video", "images"])
def test_latents_are_what_tokens_with_these_embeddings_would_be(prompts, image_prompt, tiny_model, kind):
    inputs = prompts([0]) if kind == "video" else image_prompt
    config = tiny_model.config
    pad, start, end = config.latent_token_id, config.latent_start_token_id, config.latent_end_token_id
    table = tiny_model.get_input_embeddings().weight
    # Tokens that the prompt does not hold get the latents as their rows: the stock forward then feeds the same.
    standing_in = [token for token in range(200, 300) if token not in inputs["input_ids"]][:LATENT_SIZE]
    latents = torch.randn(LATENT_SIZE, table.shape[1], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        table[standing_in] = latents
        fed = tiny_model(**with_tokens(inputs, [start, *[pad] * LATENT_SIZE, end, 5]), latent_embeds=latents)
        stock = tiny_model(**with_tokens(inputs, [start, *standing_in, end, 5]))
        other = tiny_model(**with_tokens(inputs, [start, *[pad] * LATENT_SIZE, end, 5]), latent_embeds=2 * latents)
    torch.testing.assert_close(fed.logits, stock.logits, atol=1e-5, rtol=0)
    assert (fed.logits[0, -1] - other.logits[0, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["video", "images"])
def test_without_latents_it_is_the_stock_model(prompts, image_prompt, tiny_model, stock_model, kind):
    inputs = prompts() if kind == "video" else image_prompt
    tiny_model.config.position_rule = "transformers"
    with torch.no_grad():
        expected = stock_model(**inputs).logits
        ours = tiny_model(**inputs).logits
    kept = inputs["attention_mask"].bool()
    torch.testing.assert_close(ours[kept], expected[kept], atol=1e-6, rtol=0)


def test_features_of_a_frozen_tower_carry_no_graph(prompts, image_prompt, tiny_model):
    """Not even where adapters have every input embedding ask for a gradient."""
    tiny_model.enable_input_require_grads()
    video, images = prompts([0]), image_prompt
    for trains in (False, True):
        tiny_model.model.visual.requires_grad_(trains)
        for encoded in (
            tiny_model.get_video_features(video["pixel_values_videos"], video["video_grid_thw"], return_dict=True),
            tiny_model.get_image_features(images["pixel_values"], images["image_grid_thw"], return_dict=True),
        ):
            assert [part.requires_grad for part in encoded.pooler_output] == [trains] * len(encoded.pooler_output)


@torch.no_grad()
def test_latents_behind_a_cache_stand_where_they_would_in_one_pass(prompts, tiny_model):
    """The video is in the cache alone, and the text after it is further on than its tokens tell."""
    config, inputs = tiny_model.config, prompts([0])
    block = [config.latent_start_token_id, *[config.latent_token_id] * LATENT_SIZE, config.latent_end_token_id, 5]
    latents = torch.randn(LATENT_SIZE, 32, generator=torch.Generator().manual_seed(0))
    expected = tiny_model(**with_tokens(inputs, block), latent_embeds=latents).logits[:, -len(block) :]
    cache = DynamicCache(config=config.get_text_config())
    tiny_model(**inputs, cache=cache, use_cache=True)
    rest = tiny_model(input_ids=torch.tensor([block]), cache=cache, use_cache=True, latent_embeds=latents)
    torch.testing.assert_close(rest.logits, expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_latents_behind_a_cache_of_text_alone_are_counted_on(tiny_model):
    pad, latents = tiny_model.config.latent_token_id, torch.ones(2, 32)
    ids = torch.tensor([[5, 6, 7, 8, pad, pad, 9]])
    expected = tiny_model(input_ids=ids, latent_embeds=latents).logits[:, 4:]
    cache = DynamicCache(config=tiny_model.config.get_text_config())
    tiny_model(input_ids=ids[:, :4], cache=cache, use_cache=True)
    rest = tiny_model(input_ids=ids[:, 4:], cache=cache, use_cache=True, latent_embeds=latents)
    torch.testing.assert_close(rest.logits, expected, atol=1e-5, rtol=0)


def test_pads_without_latents_are_rejected(prompts, training_batch, tiny_model):
    """Their own embeddings would give other log-probs, in silence."""
    config = tiny_model.config
    grown = with_tokens(prompts([0]), [config.latent_start_token_id, *[config.latent_token_id] * 3])
    remedy = "the sequences have 3 latent pads but no latents: give their vectors as latent_embeds"
    for settings in ({}, {"states_to_keep": torch.tensor([0])}, {"use_cache": False}):
        with pytest.raises(InputError, match=remedy):
            tiny_model(**grown, **settings)
    with pytest.raises(InputError, match=remedy):
        tiny_model.model(input_ids=grown["input_ids"][:, -4:])
    without_imagery = {name: value for name, value in training_batch.items() if not name.endswith("_latent")}
    with pytest.raises(InputError, match="12 latent pads but no latents: .* or the imagery as pixel_values_latent"):
        tiny_model(**without_imagery)


def test_a_compiled_forward_does_not_look_for_pads():
    """What depends on data would cut the graph in two."""
    ids = torch.tensor([[1, 2]])
    torch.compile(check_no_pads, backend="eager", fullgraph=True)(ids, 2)
    with pytest.raises(InputError):
        check_no_pads(ids, 2)
