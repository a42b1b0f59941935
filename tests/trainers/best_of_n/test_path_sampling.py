"""Paths sampled from a model: text alone, drawn anew by each seed."""

import pytest
import torch
from PIL import Image

from fourdthinker.modeling import load_model
from fourdthinker.modeling.tokens import LATENT_START
from fourdthinker.trainers.best_of_n.path_sampling import sample_paths


@pytest.fixture
def parts(tiny_model_folder):
    """A model that would write latent blocks and nothing else, with sampling settings of its own."""
    model, processor = load_model(tiny_model_folder)
    bias = torch.zeros(model.lm_head.out_features)
    bias[model.config.latent_start_token_id] = 12.0
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    others = {"use_cache": False, "no_repeat_ngram_size": 1, "num_return_sequences": 5, "max_time": 1e-9}
    model.generation_config.update(temperature=0.01, top_k=1, do_sample=True, **others)
    return model, processor


def make_rows(count):
    row = {"options": ["left", "right", "up"], "timestamps": [0.0, 0.5]}
    clips = [[Image.new("RGB", (56, 56), (number, shade, 0)) for shade in (0, 90)] for number in range(count)]
    return [{**row, "question": f"Which way, {number}?", "frames": frames} for number, frames in enumerate(clips)]


@pytest.mark.medium
def test_paths_are_text_of_the_whole_distribution(parts):
    model, processor = parts
    rows = make_rows(2)
    paths = sample_paths(model, processor, rows, paths=3, max_new_tokens=12)
    assert [len(of_row) for of_row in paths] == [3, 3]
    texts = [text for of_row in paths for text in of_row]
    assert not [text for text in texts if "<|latent" in text], f"each would begin with {LATENT_START}"
    assert len(set(texts)) == 6, "not the likeliest words, which the checkpoint's own settings would give"
    assert sample_paths(model, processor, rows, paths=3, max_new_tokens=12) == paths
    assert sample_paths(model, processor, rows, paths=3, max_new_tokens=12, seed=1) != paths
    nearly_greedy = sample_paths(model, processor, rows, paths=3, max_new_tokens=12, temperature=1e-4)
    assert [len(set(of_row)) for of_row in nearly_greedy] == [1, 1]
    assert model.generation_config.top_k == 1, "put back"
