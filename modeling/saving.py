"""Save a model folder: weights, configuration, and the code that loads it where this package is not installed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.dynamic_module_utils import custom_object_save


class SavingMixin:
    """Saving and opening for a `PreTrainedModel` whose code travels with its weights."""

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """transformers' own, by default from safetensors alone: opening pickled weights runs code from them."""
        kwargs.setdefault("use_safetensors", True)
        return super().from_pretrained(*args, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, *args, **kwargs):
        """transformers' own; stock auto classes then open the folder with our code.

        Weights keep the names of the modules. transformers would otherwise write those of the checkpoint that they
        came from, which it translates back for its own classes only.
        """
        kwargs.setdefault("save_original_format", False)
        with self._named_by_auto_classes():
            saved = super().save_pretrained(save_directory, *args, **kwargs)
        share_weights_like_config(save_directory)
        return saved

    def save_configuration(self, save_directory: str | os.PathLike) -> None:
        """Save the configuration and the code without the weights, as it belongs beside an adapter's weights.

        How the base was quantized for training is left out: its own files say how they are.

        Args:
            save_directory (`str` or `os.PathLike`): An existing folder.
        """
        with self._named_by_auto_classes():
            config = type(self.config).from_dict(self.config.to_dict())
            if hasattr(config, "quantization_config"):
                del config.quantization_config
            config.architectures = [type(self).__name__]
            custom_object_save(self, save_directory, config=config)
            config.save_pretrained(save_directory)

    @contextmanager
    def _named_by_auto_classes(self) -> Iterator[None]:
        """Name our classes in the configuration, by the files that hold them."""
        # torch's sharding (FSDP2) puts a class of its own in front, whose code would be saved in the place of ours.
        wrapped = type(self)
        own = next(one for one in wrapped.__mro__ if not one.__module__.startswith("torch."))
        model = f"{own.__module__.split('.')[-1]}.{own.__name__}"
        config_class = type(self.config)
        self.config.auto_map = {
            "AutoConfig": f"{config_class.__module__.split('.')[-1]}.{config_class.__name__}",
            "AutoModel": model,
            "AutoModelForImageTextToText": model,
            "AutoModelForMultimodalLM": model,
        }
        self.__class__ = own
        try:
            yield
        finally:
            self.__class__ = wrapped


def share_weights_like_config(folder: str | os.PathLike, config: str = "config.json") -> None:
    """Give the weights in a folder the permissions of its configuration.

    safetensors writes files that only their owner can read, whatever the umask says.

    Args:
        folder (`str` or `os.PathLike`): A folder that `save_pretrained` wrote.
        config (`str`, *optional*, defaults to `"config.json"`): Its configuration; without one nothing changes, as in
            a process that does not save.
    """
    reference = Path(folder) / config
    if not reference.is_file():
        return
    mode = reference.stat().st_mode & 0o777
    for weights in reference.parent.glob("*.safetensors"):
        weights.chmod(mode)
