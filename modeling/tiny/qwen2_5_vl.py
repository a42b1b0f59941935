"""A tokenizer, a processor and a configuration like Qwen2.5-VL's, at any small size and with no download."""

import json
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerBase,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from ..configuration_fourdthinker import FourDThinkerConfig
from ..processing import NO_CAP, prepare_tokenizer
from ..processing_fourdthinker import FourDThinkerProcessor
from ..tokens import LATENT_END, LATENT_PAD, LATENT_START, LATENT_TOKENS

TINY_VOCAB_SIZE = 1024  # at most: the world's text has fewer pieces to merge
# Twice the rendered world's frames of 56 x 56, which have the 4 tokens that a latent block asks for: resizing rounds
# down, so that frames of another shape have 4 tokens or more, and large square ones become 56 x 56.
TINY_MAX_PIXELS = 2 * 56 * 56

# Qwen2.5's own added tokens in their own order; the ones after the pads are not "special" there either.
QWEN_SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
QWEN_PLAIN_TOKENS = (
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)

_ID_FIELDS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
    "latent_token_id": LATENT_PAD,
    "latent_start_token_id": LATENT_START,
    "latent_end_token_id": LATENT_END,
}

# The chat template that Qwen2.5-VL's checkpoints carry.
CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}"
    "{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerBase:
    """Train a byte-level BPE tokenizer with Qwen's splitting, special tokens and the three latent tokens last.

    Args:
        texts (`Iterable[str]`): What to learn the merges from.
        vocab_size (`int`): Tokens in all, the special ones included; fewer if `texts` has no more to merge.
    """
    added = len(QWEN_SPECIAL_TOKENS) + len(QWEN_PLAIN_TOKENS) + len(LATENT_TOKENS)
    vocab, merges = _learn_merges(texts, vocab_size - added)
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=131072)
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in QWEN_SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in QWEN_PLAIN_TOKENS])
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in LATENT_TOKENS])
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.chat_template = CHAT_TEMPLATE
    prepare_tokenizer(tokenizer)
    return tokenizer


def _learn_merges(texts: Iterable[str], vocab_size: int) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Byte-level BPE over words split as Qwen splits them: the vocabulary and the merges."""
    qwen = Qwen2Tokenizer().backend_tokenizer
    learner = Tokenizer(models.BPE())
    learner.normalizer, learner.pre_tokenizer = qwen.normalizer, qwen.pre_tokenizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    learned = json.loads(learner.to_str())["model"]
    return learned["vocab"], [tuple(pair) for pair in learned["merges"]]


def token_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """The ids that a configuration names, by its fields."""
    return {name: tokenizer.convert_tokens_to_ids(token) for name, token in _ID_FIELDS.items()}


def text_fields(
    tokenizer: PreTrainedTokenizerBase, hidden_size: int, layers: int, heads: int, kv_heads: int
) -> dict[str, int]:
    """Fields of the language model's configuration that every family shares."""
    return {
        "vocab_size": -(-len(tokenizer) // 8) * 8,
        "hidden_size": hidden_size,
        "intermediate_size": 3 * hidden_size,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 32768,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def build_processor(
    tokenizer: PreTrainedTokenizerBase,
    patch_size: int = 14,
    merge_size: int = 2,
    temporal_patch_size: int = 2,
    min_pixels: int = 28 * 28,
    max_pixels: int = 256 * 28 * 28,
) -> FourDThinkerProcessor:
    """A Qwen2.5-VL processor of ours around a tokenizer.

    Args:
        tokenizer: What [`build_tokenizer`] gave.
        patch_size (`int`, *optional*, defaults to 14): Side of a vision patch, in pixels.
        merge_size (`int`, *optional*, defaults to 2): Patches a side that become one token.
        temporal_patch_size (`int`, *optional*, defaults to 2): Frames in a temporal grid.
        min_pixels (`int`, *optional*, defaults to 784): Smaller frames are enlarged.
        max_pixels (`int`, *optional*, defaults to 200704): Larger frames are shrunk.
    """
    geometry = {
        "patch_size": patch_size,
        "merge_size": merge_size,
        "temporal_patch_size": temporal_patch_size,
        "size": {"shortest_edge": min_pixels, "longest_edge": max_pixels},
    }
    return FourDThinkerProcessor(
        image_processor=Qwen2VLImageProcessor(**geometry),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(do_sample_frames=False, **NO_CAP, **geometry),
        chat_template=tokenizer.chat_template,
    )


def tiny_config(
    tokenizer: PreTrainedTokenizerBase,
    *,
    hidden_size: int = 32,
    layers: int = 2,
    heads: int = 2,
    kv_heads: int = 1,
    intermediate_size: int | None = None,
    vision_hidden_size: int | None = None,
    vision_layers: int = 2,
    vision_heads: int | None = None,
    vision_intermediate_size: int | None = None,
    patch_size: int = 14,
    tokens_per_second: int = 2,
    latent_size: int = 4,
    tie_word_embeddings: bool = True,
    **kwargs,
) -> FourDThinkerConfig:
    """A small Qwen2.5-VL configuration whose token ids are read from the tokenizer.

    Args:
        tokenizer: What [`build_tokenizer`] gave.
        hidden_size, layers, heads, kv_heads, intermediate_size (`int`): Shape of the language model. The head size
            `hidden_size / heads` must be a multiple of 8; `intermediate_size` defaults to 3 times `hidden_size`.
        vision_hidden_size, vision_layers, vision_heads, vision_intermediate_size (`int`): Shape of the vision tower,
            by default as wide as the language model. Its last layer attends over a whole frame, the others in
            windows of 112 pixels. The head size must be a multiple of 4.
        patch_size (`int`, *optional*, defaults to 14): Side of a vision patch, in pixels.
        tokens_per_second (`int`, *optional*, defaults to 2): Temporal positions in a second of video.
        latent_size (`int`, *optional*, defaults to 4): Latents in a block.
        tie_word_embeddings (`bool`, *optional*, defaults to `True`): Whether the head is the embedding.
        kwargs: Passed to [`FourDThinkerConfig`].
    """
    vision_hidden_size = vision_hidden_size or hidden_size
    vision = {
        "depth": vision_layers,
        "hidden_size": vision_hidden_size,
        "intermediate_size": vision_intermediate_size or 3 * vision_hidden_size,
        "num_heads": vision_heads or heads,
        "out_hidden_size": hidden_size,
        "patch_size": patch_size,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": tokens_per_second,
        "window_size": 8 * patch_size,
        "fullatt_block_indexes": [vision_layers - 1],
    }
    half_head = hidden_size // heads // 2
    time = half_head // 4
    height = (half_head - time) // 2
    text = {
        **text_fields(tokenizer, hidden_size, layers, heads, kv_heads),
        "intermediate_size": intermediate_size or 3 * hidden_size,
        # Qwen2.5-VL's proportions: 16, 24 and 24 of 64 frequencies for time, height and width.
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1000000.0,
            "mrope_section": [time, height, half_head - time - height],
        },
    }
    return FourDThinkerConfig(
        text_config=text,
        vision_config=vision,
        latent_size=latent_size,
        tie_word_embeddings=tie_word_embeddings,
        **token_ids(tokenizer),
        **kwargs,
    )


def tiny_backbone_config(tokenizer: PreTrainedTokenizerBase) -> FourDThinkerConfig:
    """The shape of the shipped backbone: 2.2 M parameters, a grid of a 56 x 56 pixel video seen as 2 x 2 tokens."""
    config = tiny_config(
        tokenizer,
        hidden_size=128,
        layers=4,
        heads=4,
        kv_heads=2,
        intermediate_size=384,
        vision_layers=4,
        vision_intermediate_size=384,
        max_position_embeddings=4096,
    )
    # Qwen's 0.02 is for a width of thousands; at this one it keeps the towers silent for hundreds of steps.
    config.text_config.initializer_range = config.vision_config.initializer_range = 0.06
    return config
