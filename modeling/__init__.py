"""The model: configuration, latent decoding, positions, loss, processor glue, and the text format everyone shares.

Names are imported when first used, so that `fourdthinker.modeling.tokens` and its pure-Python siblings load no torch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from .versions import warn_about_untested_versions

if TYPE_CHECKING:
    from .configuration_fourdthinker import FourDThinkerConfig
    from .configuration_fourdthinker_qwen3_vl import FourDThinkerQwen3VLConfig
    from .generation_latent import LatentLogitsProcessor
    from .latent_loss import DIFTLoss, dift_loss
    from .latent_rules import LatentRules
    from .loading import from_backbone, load_model
    from .modeling_fourdthinker import FourDThinkerForConditionalGeneration, FourDThinkerModel
    from .modeling_fourdthinker_qwen3_vl import FourDThinkerQwen3VLForConditionalGeneration, FourDThinkerQwen3VLModel
    from .processing_fourdthinker import FourDThinkerProcessor
    from .processing_fourdthinker_qwen3_vl import FourDThinkerQwen3VLProcessor

_MODULES = {
    "DIFTLoss": "latent_loss",
    "FourDThinkerConfig": "configuration_fourdthinker",
    "FourDThinkerForConditionalGeneration": "modeling_fourdthinker",
    "FourDThinkerModel": "modeling_fourdthinker",
    "FourDThinkerProcessor": "processing_fourdthinker",
    "FourDThinkerQwen3VLConfig": "configuration_fourdthinker_qwen3_vl",
    "FourDThinkerQwen3VLForConditionalGeneration": "modeling_fourdthinker_qwen3_vl",
    "FourDThinkerQwen3VLModel": "modeling_fourdthinker_qwen3_vl",
    "FourDThinkerQwen3VLProcessor": "processing_fourdthinker_qwen3_vl",
    "LatentLogitsProcessor": "generation_latent",
    "LatentRules": "latent_rules",
    "dift_loss": "latent_loss",
    "from_backbone": "loading",
    "load_model": "loading",
}

__all__ = [
    "DIFTLoss",
    "FourDThinkerConfig",
    "FourDThinkerForConditionalGeneration",
    "FourDThinkerModel",
    "FourDThinkerProcessor",
    "FourDThinkerQwen3VLConfig",
    "FourDThinkerQwen3VLForConditionalGeneration",
    "FourDThinkerQwen3VLModel",
    "FourDThinkerQwen3VLProcessor",
    "LatentLogitsProcessor",
    "LatentRules",
    "dift_loss",
    "from_backbone",
    "load_model",
]

warn_about_untested_versions()


def __getattr__(name: str):
    if name == "__version__":  # the package's; its root is a namespace, which can hold no name of its own
        return version("fourdthinker")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
