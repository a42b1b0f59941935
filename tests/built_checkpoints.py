"""Three tiny models whose weights are set by hand, so that it is known what their latents do; and questions for them.

All of them open one latent block and then name the colour of the video. They differ in where the answer's position,
the token after the block, looks:

- `"carry"`: at the latents. The start token has written the video's colour into them; without them nobody knows it.
- `"markers"`: at the video. Without a block there is no such position, and the model answers A.
- `"ignore"`: at the video, and so does the first position of the response: the answer is known with and without block.

One attention layer does all this. Each token carries flags in dimensions of its own; queries and keys match flags, and
a query without a match goes to the tokens that open a turn, whose value is zero.
"""

from functools import cache

import numpy as np
import torch
from PIL import Image

from fourdthinker.modeling.modeling_fourdthinker import FourDThinkerForConditionalGeneration
from fourdthinker.modeling.prompts import PROMPT_SUFFIX
from fourdthinker.modeling.tiny.qwen2_5_vl import build_processor, build_tokenizer, tiny_config
from fourdthinker.modeling.tokens import LATENT_END, LATENT_START

KINDS = ("carry", "markers", "ignore")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
_TEXTS = [
    PROMPT_SUFFIX,
    "You are a helpful assistant. user",
    "Which colour is it?",
    "A. red\nB. green\nC. blue\nD. white",
    "<think>reasoning</think><answer>B</answer>",
]

# Dimensions of the hidden state. Those from `_LATENT` on survive the last norm, so they are what is fed back.
_VIDEO_COLOUR, _VIDEO, _START, _END, _FIRST, _TURN = slice(0, 4), 4, 5, 6, 7, 8
_LATENT, _LATENT_COLOUR, _ANSWER, _OPEN, _FALLBACK, _CLOSE = 9, slice(10, 14), slice(14, 18), 18, 19, 20
# Dimensions of a head that its rotary embedding leaves nearly as they are, one for each flag of a key.
_SEEK_VIDEO, _SEEK_LATENT, _SEEK_TURN = 4, 5, 6
_HEAD = 16


@cache
def build_checkpoint(kind: str):
    """The model and the processor of one of `KINDS`."""
    tokenizer = build_tokenizer(_TEXTS * 2, vocab_size=512)
    config = tiny_config(
        tokenizer, hidden_size=32, layers=1, heads=2, kv_heads=2, vision_layers=1, tie_word_embeddings=False
    )
    config.text_config.rope_parameters["rope_theta"] = 1e12  # so large that positions do not matter
    model = FourDThinkerForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name or "ln_q" in name else 0.0)
        _set_tower(model.model.visual)
        _set_tokens(model, tokenizer)
        _set_attention(model.model.language_model.layers[0].self_attn, kind)
        model.model.language_model.norm.weight[:_LATENT] = 0.0
    return model, build_processor(tokenizer)


def _set_tower(visual) -> None:
    """A visual token says which of the four colours it shows."""
    for channel in range(3):
        visual.patch_embed.proj.weight[channel, channel] = 1 / (2 * 14 * 14)
    mean, std = np.array([0.481, 0.458, 0.408]), np.array([0.269, 0.261, 0.276])
    first, _, second = visual.merger.mlp
    width = first.weight.shape[1] // 4
    for number, colour in enumerate(COLOURS.values()):
        direction = (np.array(colour) / 255 - mean) / std
        direction = torch.tensor(direction / np.linalg.norm(direction))
        for patch in range(4):  # the directions are more than a right angle apart, so only the colour's own fires
            first.weight[number, patch * width : patch * width + 3] = 10 * direction / 4
        second.weight[number, number] = 1 / (10 * width**0.5)
    second.bias[_VIDEO] = 1.0


def _set_tokens(model, tokenizer) -> None:
    embedding, head = model.get_input_embeddings().weight, model.lm_head.weight
    newline, turn, start, end, close, *letters = tokenizer.convert_tokens_to_ids(
        ["Ċ", "<|im_start|>", LATENT_START, LATENT_END, "<|im_end|>", *"ABCD"]
    )
    # Features take its place; where latents stand in a row with a video, it is found by an embedding of its own.
    embedding[model.config.video_token_id, -1] = 1.0
    embedding[newline, [_FIRST, _OPEN, _FALLBACK]] = 1.0
    embedding[turn, _TURN] = 1.0
    embedding[start, _START], embedding[start, _LATENT] = 1.0, 0.2
    embedding[end, _END], embedding[end, _FALLBACK] = 1.0, 0.3
    embedding[letters, _CLOSE] = 1.0
    head[start, _OPEN] = 100.0
    head[letters, range(_ANSWER.start, _ANSWER.stop)] = 10.0
    head[letters[0], _FALLBACK] = 3.0
    head[close, _CLOSE] = 10.0


def _set_attention(attention, kind: str) -> None:
    """The first head takes the colour from the video to the start token, the second takes it to the answer."""
    query, key, value, output = (getattr(attention, f"{name}_proj") for name in "qkvo")
    for head in range(2):
        base = head * _HEAD
        query.bias[base + _SEEK_TURN] = 8.0
        for seek, flag in ((_SEEK_VIDEO, _VIDEO), (_SEEK_LATENT, _LATENT), (_SEEK_TURN, _TURN)):
            key.weight[base + seek, flag] = 3.0
    query.weight[_SEEK_VIDEO, _START] = 10.0
    query.weight[_HEAD + (_SEEK_LATENT if kind == "carry" else _SEEK_VIDEO), _END] = 10.0
    if kind == "ignore":
        query.weight[_HEAD + _SEEK_VIDEO, _FIRST] = 10.0
    source = _LATENT_COLOUR if kind == "carry" else _VIDEO_COLOUR
    for number in range(4):
        value.weight[number, _VIDEO_COLOUR.start + number] = 1.0
        output.weight[_LATENT_COLOUR.start + number, number] = 0.05
        value.weight[_HEAD + number, source.start + number] = 1.0
        output.weight[_ANSWER.start + number, _HEAD + number] = 0.25


def make_questions(n: int, seed: int, imagery: bool = False) -> list[dict]:
    """Questions about the colour of a clip, about one key in seven wrong, so that nobody answers all of them."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(n):
        place = int(random.integers(4))
        name, colour = list(COLOURS.items())[place]
        pixels = np.clip(np.array(colour) + random.integers(-30, 30, (4, 28, 56, 3)), 0, 255).astype(np.uint8)
        frames = [Image.fromarray(frame) for frame in pixels]
        key = place if random.random() > 0.14 else int(random.integers(4))
        row = {"id": f"row-{number}", "task": "colour", "question": "Which colour is it?", "options": list(COLOURS)}
        row |= {"answer": "ABCD"[key], "frames": frames, "timestamps": [0.0, 0.5, 1.0, 1.5]}
        rows.append(row | {"imagery": [frames[-1]]} if imagery else row)
    return rows
