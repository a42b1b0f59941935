"""4DThinker on the Qwen2.5-VL family."""

from importlib import import_module

from torch import nn
from transformers import (
    AutoModel,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLModel,
)

# transformers 5.2 copies from a local folder only the files that this one names itself.
from .answer_columns import AnswerColumns  # noqa: F401
from .answer_mask import mask_answers  # noqa: F401
from .cache_name import CACHE_NAME  # noqa: F401
from .configuration_fourdthinker import FourDThinkerConfig
from .configuration_latent import LatentConfigMixin  # noqa: F401
from .errors import InputError  # noqa: F401
from .fused_cross_entropy import fused_cross_entropy  # noqa: F401
from .generation_latent import LatentGenerationMixin  # noqa: F401
from .graph_cache import GraphCache  # noqa: F401
from .latent_loss import dift_loss  # noqa: F401
from .latent_norm import match_norm  # noqa: F401
from .latent_pooling import pool_features  # noqa: F401
from .latent_rules import LatentRules  # noqa: F401
from .latent_unroll import LatentUnroll  # noqa: F401
from .modeling_latent import LatentCausalLMMixin, LatentModelMixin
from .rope_positions import token_types  # noqa: F401
from .saving import SavingMixin  # noqa: F401
from .self_feeding import SelfFeeding  # noqa: F401
from .tower_features import pass_features_as_pixels  # noqa: F401


class FourDThinkerModel(LatentModelMixin, Qwen2_5_VLModel):
    """Qwen2.5-VL without its head, whose input embeddings at latent pads are latents."""

    config: FourDThinkerConfig
    config_class = FourDThinkerConfig


class FourDThinkerForConditionalGeneration(LatentCausalLMMixin, Qwen2_5_VLForConditionalGeneration):
    """Qwen2.5-VL that thinks in latent blocks between its words.

    Example:

    ```python
    from fourdthinker.modeling import from_backbone

    model, processor = from_backbone("Qwen/Qwen2.5-VL-3B-Instruct")
    output = model.generate(**inputs, max_new_tokens=512, return_dict_in_generate=True)
    output.latent_embeds[0].shape  # (latents of the first row, hidden)
    ```
    """

    config: FourDThinkerConfig
    config_class = FourDThinkerConfig

    def __init__(self, config: FourDThinkerConfig):
        # Past the stock class, which would build an inner model only to throw it away.
        super(Qwen2_5_VLForConditionalGeneration, self).__init__(config)
        self.model = FourDThinkerModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()


FourDThinkerForConditionalGeneration.register_for_auto_class("AutoModelForImageTextToText")
# A copy of this file that came with a checkpoint stays out of the registry, where it would answer for other ones.
if not __name__.startswith("transformers_modules."):
    for auto_class in (AutoModel, AutoModelForImageTextToText, AutoModelForMultimodalLM):
        auto_class.register(FourDThinkerConfig, FourDThinkerForConditionalGeneration, exist_ok=True)
    # By name, since a checkpoint's model needs none of the processor's files.
    processing = import_module(".processing_fourdthinker", __package__)
    AutoProcessor.register(FourDThinkerConfig, processing.FourDThinkerProcessor, exist_ok=True)
