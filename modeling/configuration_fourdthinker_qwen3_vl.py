"""Configuration of 4DThinker on the Qwen3-VL family."""

from transformers import AutoConfig, Qwen3VLConfig

from .configuration_latent import LatentConfigMixin

# transformers 5.2 copies from a local folder only the files that this one names itself.
from .errors import InputError  # noqa: F401


class FourDThinkerQwen3VLConfig(LatentConfigMixin, Qwen3VLConfig):
    r"""
    Configuration of [`FourDThinkerQwen3VLForConditionalGeneration`]: a Qwen3-VL configuration and what latents need,
    see [`LatentConfigMixin`]. Every frame of a video is a visual block of its own after its time in words, so the
    positions of transformers are Qwen's.

    Example:

    ```python
    >>> from fourdthinker.modeling import FourDThinkerQwen3VLConfig

    >>> FourDThinkerQwen3VLConfig(latent_size=8).latent_size
    8
    ```
    """

    model_type = "fourdthinker_qwen3_vl"

    # Said here, since newer versions of transformers make a dataclass of any configuration that has no `__init__`.
    def __init__(self, **kwargs):
        super().__init__(**kwargs)


FourDThinkerQwen3VLConfig.register_for_auto_class()
# A copy of this file that came with a checkpoint stays out of the registry, where it would answer for other ones.
if not __name__.startswith("transformers_modules."):
    AutoConfig.register(FourDThinkerQwen3VLConfig.model_type, FourDThinkerQwen3VLConfig, exist_ok=True)
