"""Prompts, imagery and training batches for both model families, and decoding with blocks at chosen tokens."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import LogitsProcessor

from fourdthinker.modeling.processing import Clip, conversation_text, encode, encode_imagery


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def family(request):
    """What is true of the model holds for each of its families."""
    return request.param


class StartAt(LogitsProcessor):
    """Makes row `i` open a latent block at generated token `steps[i]` (or at each of several)."""

    def __init__(self, start_token, prompt_length, steps):
        self.start_token, self.prompt_length, self.steps = start_token, prompt_length, steps

    def __call__(self, input_ids, scores):
        scores = scores.clone()  # the given ones are recorded as logits
        for row, steps in enumerate(self.steps):
            if input_ids.shape[1] - self.prompt_length in steps:
                scores[row] = -torch.inf
                scores[row, self.start_token] = 0.0
        return scores


@pytest.fixture
def prompts(tiny_processor):
    """Three video questions of different lengths, as a function of which to take and how to fill them."""
    draw = np.random.default_rng(0)
    clips = [
        Clip([Image.fromarray(draw.integers(0, 255, (56, 56, 3), dtype=np.uint8)) for _ in range(frames)], times)
        for frames, times in (
            (8, [i * 0.5 for i in range(8)]),
            (4, [0.0, 1.0, 2.0, 3.0]),
            (6, [i * 0.25 for i in range(6)]),
        )
    ]
    questions = ("Which way does the camera move?", "Which way?", "Does the red ball move right?")
    texts = [conversation_text(tiny_processor, question, ("a", "b", "c", "d")) for question in questions]

    def make(rows=(0, 1, 2), padding_side="left"):
        return encode(tiny_processor, [texts[i] for i in rows], [clips[i] for i in rows], padding_side)

    return make


@pytest.fixture
def stock_model(tiny_model):
    """The stock model of the same weights."""
    (stock_class,) = [base for base in type(tiny_model).__bases__ if base.__module__.startswith("transformers.")]
    *_, stock_config = (
        base for base in type(tiny_model.config).__bases__ if base.__module__.startswith("transformers.")
    )
    known = stock_config().to_dict().keys() - {"model_type"}
    fields = {name: value for name, value in tiny_model.config.to_dict().items() if name in known}
    stock = stock_class(stock_class.config_class(**fields))
    stock.load_state_dict(tiny_model.state_dict())
    return stock.eval()


@pytest.fixture
def generate_at(tiny_model):
    """Greedy decoding in which row `i` opens latent blocks at the generated tokens `steps[i]`."""

    def run(inputs, steps, model=tiny_model, processors=(), **kwargs):
        start = StartAt(model.config.latent_start_token_id, inputs["input_ids"].shape[1], steps)
        options = {"max_new_tokens": 16, "do_sample": False, "eos_token_id": None, "output_logits": True, **kwargs}
        return model.generate(**inputs, logits_processor=[start, *processors], return_dict_in_generate=True, **options)

    return run


@pytest.fixture
def imagery(tiny_processor):
    """Three imagery frames of two sizes, encoded."""
    draw = np.random.default_rng(1)
    sizes = ((56, 56), (84, 56), (56, 56))
    return encode_imagery(
        tiny_processor, [Image.fromarray(draw.integers(0, 255, (*size, 3), dtype=np.uint8)) for size in sizes]
    )


@pytest.fixture
def training_batch(prompts, tiny_model, imagery):
    """Three rows with two blocks, none and one, filled on the right, and the imagery frames of the three blocks."""
    config = tiny_model.config
    block = [config.latent_start_token_id, *[config.latent_token_id] * 4, config.latent_end_token_id]
    batch = prompts(padding_side="left")
    endings = torch.tensor([[5, *block, 6, *block, 7], [5, 6, 7, *range(20, 32)], [5, *block, 6, 7, *range(20, 26)]])
    labels = torch.cat([torch.full_like(batch["input_ids"], -100), endings], dim=1)
    batch["input_ids"] = torch.cat([batch["input_ids"], endings], dim=1)
    batch["attention_mask"] = torch.cat([batch["attention_mask"], torch.ones_like(endings)], dim=1)
    batch.pop("mm_token_type_ids")
    return {**batch, **imagery, "labels": labels}
