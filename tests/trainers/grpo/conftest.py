"""A model that opens blocks and ends turns often, for the tests of 4DRL."""

import pytest
import torch

from fourdthinker.modeling import load_model


@pytest.fixture
def parts(tiny_model_folder):
    model, processor = load_model(tiny_model_folder)
    # A random model hardly ever opens a block or ends its turn. A bias in the head makes it do both often, alike for
    # decoding and scoring.
    bias = torch.zeros(model.lm_head.out_features)
    bias[model.config.latent_start_token_id] = 4.0
    bias[processor.tokenizer.eos_token_id] = 3.0
    model.lm_head.bias = torch.nn.Parameter(bias, requires_grad=False)
    return model, processor
