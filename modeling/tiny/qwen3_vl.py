"""A processor and a configuration like Qwen3-VL's, at any small size and with no download."""

from transformers import PreTrainedTokenizerBase, Qwen2VLImageProcessor, Qwen3VLVideoProcessor

from ..configuration_fourdthinker_qwen3_vl import FourDThinkerQwen3VLConfig
from ..processing import NO_CAP
from ..processing_fourdthinker_qwen3_vl import FourDThinkerQwen3VLProcessor
from .qwen2_5_vl import text_fields, token_ids

_PATCH_SIZE = 16


def build_qwen3_vl_processor(tokenizer: PreTrainedTokenizerBase) -> FourDThinkerQwen3VLProcessor:
    """A Qwen3-VL processor of ours around a tokenizer that [`build_tokenizer`] gave."""
    geometry = {
        "patch_size": _PATCH_SIZE,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"shortest_edge": 32 * 32, "longest_edge": 256 * 32 * 32},
    }
    return FourDThinkerQwen3VLProcessor(
        image_processor=Qwen2VLImageProcessor(**geometry),
        tokenizer=tokenizer,
        video_processor=Qwen3VLVideoProcessor(do_sample_frames=False, **NO_CAP, **geometry),
        chat_template=tokenizer.chat_template,
    )


def tiny_qwen3_vl_config(
    tokenizer: PreTrainedTokenizerBase,
    *,
    hidden_size: int = 32,
    layers: int = 2,
    heads: int = 2,
    kv_heads: int = 1,
    vision_layers: int = 2,
    tie_word_embeddings: bool = True,
    **kwargs,
) -> FourDThinkerQwen3VLConfig:
    """A small Qwen3-VL configuration whose token ids are read from the tokenizer.

    Args:
        tokenizer: What [`build_tokenizer`] gave.
        hidden_size, layers, heads, kv_heads (`int`): Shape of the language model; the head size `hidden_size / heads`
            must be a multiple of 8.
        vision_layers (`int`, *optional*, defaults to 2): Of the vision tower, which is as wide as the language model;
            the first one's features go to the language model's first layer too (DeepStack).
        tie_word_embeddings (`bool`, *optional*, defaults to `True`): Whether the head is the embedding.
        kwargs: Passed to [`FourDThinkerQwen3VLConfig`].
    """
    vision = {
        "depth": vision_layers,
        "hidden_size": hidden_size,
        "intermediate_size": 3 * hidden_size,
        "num_heads": heads,
        "out_hidden_size": hidden_size,
        "patch_size": _PATCH_SIZE,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    half_head = hidden_size // heads // 2
    side = half_head // 4
    text = {
        **text_fields(tokenizer, hidden_size, layers, heads, kv_heads),
        "head_dim": hidden_size // heads,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 5000000.0,
            "mrope_section": [half_head - 2 * side, side, side],
            "mrope_interleaved": True,
        },
    }
    return FourDThinkerQwen3VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=tie_word_embeddings,
        **token_ids(tokenizer),
        **kwargs,
    )
