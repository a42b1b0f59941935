"""Precomputed features of the vision tower replace pixels, with every version of transformers."""

import pytest
import torch

from fourdthinker.modeling.tower_features import split_layers


@pytest.fixture
def tower_runs(tiny_model):
    """Grows with every pass of the tower."""
    runs = []
    tiny_model.model.visual.register_forward_hook(lambda *_: runs.append(1))
    return runs


@pytest.fixture
def both(prompts, imagery, tiny_model):
    """A video question and a picture in one row, as pixels; and the same as features."""
    pixels = dict(prompts([1]))
    tokens = int(imagery["image_grid_thw_latent"][0].prod()) // 4
    image = torch.tensor([[tiny_model.config.vision_start_token_id, *[tiny_model.config.image_token_id] * tokens, 5]])
    pixels["input_ids"] = torch.cat([pixels["input_ids"], image], dim=1)
    pixels["attention_mask"] = torch.ones_like(pixels["input_ids"])
    del pixels["mm_token_type_ids"]
    pixels["pixel_values"] = imagery["pixel_values_latent"][: 4 * tokens]
    pixels["image_grid_thw"] = imagery["image_grid_thw_latent"][:1]
    kept = {name: value for name, value in pixels.items() if "pixel_values" not in name}
    features = {
        "image": tiny_model.get_image_features(pixels["pixel_values"], pixels["image_grid_thw"], return_dict=True),
        "video": tiny_model.get_video_features(
            pixels["pixel_values_videos"], pixels["video_grid_thw"], return_dict=True
        ),
    }
    return pixels, {**kept, "mm_encoder_outputs": features}


@torch.no_grad()
def test_features_of_images_and_videos_are_worth_their_pixels(tiny_model, both, tower_runs):
    pixels, features = both
    expected = tiny_model(**pixels).logits
    tower_runs.clear()
    torch.testing.assert_close(tiny_model(**features).logits, expected, atol=1e-5, rtol=0)
    assert not tower_runs


@torch.no_grad()
def test_generation_goes_on_from_features_without_the_tower(tiny_model, prompts, tower_runs):
    inputs = dict(prompts())
    grids = inputs["video_grid_thw"]
    expected = tiny_model.generate(**inputs, max_new_tokens=6, do_sample=False, eos_token_id=None)
    features = tiny_model.get_video_features(inputs.pop("pixel_values_videos"), grids, return_dict=True)
    tower_runs.clear()
    vision = {"mm_encoder_outputs": {"video": features}}
    generated = tiny_model.generate(**inputs, **vision, max_new_tokens=6, do_sample=False, eos_token_id=None)
    assert torch.equal(generated, expected) and not tower_runs


@torch.no_grad()
def test_each_image_has_its_own_features_of_every_layer(tiny_model, prompts, family):
    inputs = prompts()
    counts = (inputs["video_grid_thw"].prod(1) // 4).tolist()
    layers = split_layers(
        tiny_model.get_video_features(inputs["pixel_values_videos"], inputs["video_grid_thw"], return_dict=True)
    )
    assert [[len(one) for one in layer] for layer in layers] == [counts] * len(layers)
    assert bool(layers) == (family == "qwen3_vl")
