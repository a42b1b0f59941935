"""Tiny random mask models of each kind, saved as a checkpoint is: for trials and tests without a download.

They find something everywhere and nothing in particular.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

WORDS = ("a", "the", "red", "blue", "brown", "square", "thing", "dog", "person", "car")
_WIDTH = 128  # the memory of the trackers takes multiples of 64, and at least two
_MARKS = ("<s>", "</s>", "<unk>")
_TINY = {"num_attention_heads": 2, "intermediate_size": 32}


def write_tiny_mask_model(kind: str, folder: Path, words: Sequence[str] = WORDS, seed: int = 0) -> Path:
    """Save a random model and its processor.

    Args:
        kind (`str`): One of [`checkpoints.KINDS`].
        folder (`Path`): Where to save them.
        words (`Sequence[str]`, *optional*): The vocabulary of a model that finds names.
        seed (`int`, *optional*, defaults to 0): Of the weights.

    Returns:
        `Path`: The folder.
    """
    import torch

    torch.manual_seed(seed)
    model, processor = _MAKERS[kind](words)
    for name, parameter in model.named_parameters():
        if "pred_obj_score_head" in name and name.endswith("bias"):
            torch.nn.init.constant_(parameter, 1.0)  # whatever is followed is there
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _sam3(words: Sequence[str]) -> tuple[Any, Any]:
    from transformers import Sam2VideoVideoProcessor, Sam3ImageProcessor, Sam3VideoConfig, Sam3VideoModel
    from transformers import Sam3VideoProcessor as Processor

    layer = {"hidden_size": _WIDTH, "num_layers": 1, **_TINY}
    marks = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = {"vocab_size": len(_MARKS) + len(words), "hidden_size": 16, "projection_dim": 16, "num_hidden_layers": 1}
    detector = {
        "model_type": "sam3",
        "vision_config": _sam3_vision(),
        "text_config": {"model_type": "clip_text_model", "max_position_embeddings": 32, **text, **_TINY, **marks},
        "geometry_encoder_config": layer,
        "detr_encoder_config": layer,
        "detr_decoder_config": {**layer, "num_queries": 6},
        "mask_decoder_config": {"hidden_size": _WIDTH, "num_upsampling_stages": 3, "num_attention_heads": 2},
    }
    tracker = {"model_type": "sam3_tracker_video", "vision_config": _sam3_vision(), **_tracker(56, 14)}
    config = Sam3VideoConfig(
        detector_config=detector,
        tracker_config=tracker,
        low_res_mask_size=16,
        score_threshold_detection=0.0,
        new_det_thresh=0.0,
        det_nms_thresh=0.9,
        hotstart_delay=0,
        hotstart_unmatch_thresh=0,
        hotstart_dup_thresh=0,
    )
    image = Sam3ImageProcessor(size=_size(56), mask_size=_size(16))
    tokenizer = _tokenizer(words)
    return Sam3VideoModel(config), Processor(image, Sam2VideoVideoProcessor(size=_size(56)), tokenizer, target_size=56)


def _sam3_tracker(words: Sequence[str]) -> tuple[Any, Any]:
    from transformers import Sam2VideoVideoProcessor, Sam3ImageProcessor, Sam3TrackerVideoConfig
    from transformers import Sam3TrackerVideoModel as Model
    from transformers import Sam3TrackerVideoProcessor as Processor

    model = Model(Sam3TrackerVideoConfig(vision_config=_sam3_vision(), **_tracker(56, 14)))
    image, video = Sam3ImageProcessor(size=_size(56)), Sam2VideoVideoProcessor(size=_size(56))
    return model, Processor(image, video, target_size=56)


def _sam2(words: Sequence[str]) -> tuple[Any, Any]:
    from transformers import Sam2VideoConfig, Sam2VideoModel

    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "image_size": [64, 64],
        "blocks_per_stage": [1, 1, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [3],
        "window_positional_embedding_background_size": [4, 4],
    }
    vision = {"model_type": "sam2_vision_model", **_neck(backbone, [64, 32, 16, 8])}
    config = Sam2VideoConfig(vision_config=vision, memory_attention_rope_feat_sizes=[4, 4], **_tracker(64, 16))
    return Sam2VideoModel(config), _sam2_processor()


def _edgetam(words: Sequence[str]) -> tuple[Any, Any]:
    from transformers import EdgeTamVideoConfig, EdgeTamVideoModel

    sizes = {"embed_dim": [8, 8, 16, 16], "depth": [1, 1, 1, 1]}
    backbone = {
        "model_type": "timm_wrapper",
        "architecture": "repvit_m1",
        "num_classes": 1,
        "label_names": ["thing"],
        "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3], **sizes},
    }
    vision = {"model_type": "edgetam_vision_model", **_neck(backbone, [16, 16, 8, 8])}
    tracker = _tracker(64, 16)
    tracker["memory_attention_mlp_hidden_size"] = tracker.pop("memory_attention_feed_forward_hidden_size")
    config = EdgeTamVideoConfig(
        vision_config=vision,
        memory_attention_rope_feat_sizes=[4, 4],
        memory_attention_rope_k_sizes=[2, 2],
        perceiver_resampler_num_latents=4,
        perceiver_resampler_num_latents_2d=4,
        perceiver_resampler_mlp_intermediate_size=32,
        **tracker,
    )
    return EdgeTamVideoModel(config), _sam2_processor()


def _sam3_vision() -> dict[str, Any]:
    backbone = {
        "model_type": "sam3_vit_model",
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "image_size": 56,
        "patch_size": 14,
        "window_size": 2,
        "global_attn_indexes": [1],
        "pretrain_image_size": 28,
        **_TINY,
    }
    sizes = [[16, 16], [8, 8], [4, 4]]
    return {
        "model_type": "sam3_vision_model",
        "fpn_hidden_size": _WIDTH,
        "backbone_config": backbone,
        "backbone_feature_sizes": sizes,
    }


def _neck(backbone: dict[str, Any], channels: list[int]) -> dict[str, Any]:
    return {
        "backbone_config": backbone,
        "backbone_channel_list": channels,
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": _WIDTH,
    }


def _tracker(side: int, patch: int) -> dict[str, Any]:
    """What the trackers share, for pictures of `side` pixels in patches of `patch`."""
    decoder = {"hidden_size": _WIDTH, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return {
        "image_size": side,
        "prompt_encoder_config": {
            "hidden_size": _WIDTH,
            "image_size": side,
            "patch_size": patch,
            "mask_input_channels": 4,
        },
        "mask_decoder_config": {**decoder, "iou_head_hidden_dim": 16},
        "memory_attention_hidden_size": _WIDTH,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_encoder_hidden_size": _WIDTH,
        "mask_downsampler_embed_dim": _WIDTH,
        "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": _WIDTH,
        "memory_fuser_intermediate_dim": 32,
    }


def _sam2_processor() -> Any:
    from transformers import Sam2ImageProcessor, Sam2VideoProcessor, Sam2VideoVideoProcessor

    image, video = Sam2ImageProcessor(size=_size(64)), Sam2VideoVideoProcessor(size=_size(64))
    return Sam2VideoProcessor(image, video, target_size=64)


def _tokenizer(words: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*_MARKS, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    names = dict(zip(("bos_token", "eos_token", "unk_token"), _MARKS, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="</s>", **names)


def _size(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


_MAKERS: Mapping[str, Callable[[Sequence[str]], tuple[Any, Any]]] = {
    "sam3": _sam3,
    "sam2": _sam2,
    "edgetam": _edgetam,
    "sam3_tracker": _sam3_tracker,
}
