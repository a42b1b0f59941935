"""Configuration of 4DThinker on the Qwen2.5-VL family."""

from transformers import AutoConfig, Qwen2_5_VLConfig

from .configuration_latent import LatentConfigMixin

# transformers 5.2 copies from a local folder only the files that this one names itself.
from .errors import InputError  # noqa: F401


class FourDThinkerConfig(LatentConfigMixin, Qwen2_5_VLConfig):
    r"""
    Configuration of [`FourDThinkerForConditionalGeneration`]: a Qwen2.5-VL configuration and what latents need, see
    [`LatentConfigMixin`].

    Args:
        position_rule (`str`, *optional*, defaults to `"qwen2_5_vl"`):
            Where text continues after a visual block. `"qwen2_5_vl"`: at the block's largest position plus one, as in
            Qwen's own code, with which the published weights were trained. `"transformers"`: as the installed
            transformers does.

    Example:

    ```python
    >>> from fourdthinker.modeling import FourDThinkerConfig

    >>> config = FourDThinkerConfig(latent_token_id=151665, latent_start_token_id=151666, latent_end_token_id=151667)
    >>> config.latent_size
    4
    ```
    """

    model_type = "fourdthinker"
    position_rules = ("qwen2_5_vl", "transformers")

    # Said here, since newer versions of transformers make a dataclass of any configuration that has no `__init__`.
    def __init__(self, *, position_rule: str = "qwen2_5_vl", **kwargs):
        super().__init__(position_rule=position_rule, **kwargs)


FourDThinkerConfig.register_for_auto_class()
# A copy of this file that came with a checkpoint stays out of the registry, where it would answer for other ones.
if not __name__.startswith("transformers_modules."):
    AutoConfig.register(FourDThinkerConfig.model_type, FourDThinkerConfig, exist_ok=True)
