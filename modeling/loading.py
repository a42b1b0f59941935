"""Load a model: a stock Qwen-VL checkpoint, a published 4DThinker one, or a folder saved by this package."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, ProcessorMixin
from transformers.utils import cached_file
from transformers.utils.peft_utils import find_adapter_config_file

from .configuration_latent import LATENT_FIELDS
from .errors import InputError, first_line
from .hub_names import may_be_hub_name
from .modeling_fourdthinker import FourDThinkerForConditionalGeneration
from .modeling_fourdthinker_qwen3_vl import FourDThinkerQwen3VLForConditionalGeneration
from .modeling_latent import LatentCausalLMMixin
from .peft_adapters import merge_adapter, set_tied
from .processing import pad_left
from .processing_fourdthinker import FourDThinkerProcessor
from .processing_fourdthinker_qwen3_vl import FourDThinkerQwen3VLProcessor
from .text_files import read_text
from .tokens import LATENT_TOKENS

# Model classes by the type of the stock checkpoint and by that of our own.
FAMILIES = {
    "qwen2_5_vl": FourDThinkerForConditionalGeneration,
    "qwen3_vl": FourDThinkerQwen3VLForConditionalGeneration,
}
_PROCESSORS = {
    FourDThinkerForConditionalGeneration: FourDThinkerProcessor,
    FourDThinkerQwen3VLForConditionalGeneration: FourDThinkerQwen3VLProcessor,
}
_SAVED = {model.config_class.model_type: model for model in FAMILIES.values()}

# Published files say `visual.*` and `model.layers.*` where the modules are `model.visual.*` and
# `model.language_model.layers.*`; transformers translates for its own classes only. New names pass unchanged.
_OLD_TO_NEW_KEYS = {
    r"^visual": "model.visual",
    r"^model(?!\.(language_model|visual))": "model.language_model",
}
VIDEO_TOKEN = "<|video_pad|>"  # of both families
_HUB_ARGUMENTS = ("revision", "token", "cache_dir", "force_download", "local_files_only")
# Our names of the ids in published 4DThinker and Mirage configurations, and their fields that mean nothing here.
_PUBLISHED_IDS = {
    "latent_token_id": "latent_token_id",
    "latent_start_id": "latent_start_token_id",
    "latent_end_id": "latent_end_token_id",
}
_PUBLISHED_ONLY = ("latent_start_id", "latent_end_id", "compress_strategy", "stage")


def from_backbone(
    path: str | os.PathLike, latent_size: int | None = None, **kwargs
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Make a 4DThinker model of a stock Qwen2.5-VL or Qwen3-VL checkpoint or of a published 4DThinker or Mirage one.

    Args:
        path (`str` or `os.PathLike`): A folder, or a model's name on the Hub.
        latent_size (`int`, *optional*): Latents in a block; by default the checkpoint's own, or 4 if it has none.
        kwargs: Fields of [`LatentConfigMixin`] to set, and arguments of `from_pretrained` (`dtype`, `device_map`, …).

    Returns:
        `tuple`: The model, in eval mode, and its processor, the tokenizer with the latent tokens.

    Raises:
        InputError: If there is no such checkpoint, or none of these families, or a weight is missing or left over.
    """
    hub = _hub_arguments(kwargs)
    fields = _config_fields(path, hub)
    model_class = FAMILIES.get(fields.get("model_type"))
    if model_class is None:
        raise InputError(
            f"{path} holds a model of type {fields.get('model_type')!r}: give a Qwen2.5-VL or Qwen3-VL checkpoint"
            + (" or open this one with `load_model`" if fields.get("model_type") in _SAVED else "")
        )
    processor = _load_processor(path, model_class, hub)
    known_tokens = len(processor.tokenizer)
    processor.tokenizer.add_tokens(list(LATENT_TOKENS), special_tokens=True)
    ids = dict(
        zip(_PUBLISHED_IDS.values(), processor.tokenizer.convert_tokens_to_ids(list(LATENT_TOKENS)), strict=True)
    )
    config = _our_config(model_class.config_class, path, fields, ids, latent_size, kwargs)
    model, loaded = _load_weights(path, model_class, config=config, key_mapping=_OLD_TO_NEW_KEYS, **kwargs)
    _assert_complete(path, loaded)
    _give_rows(model, [token for token in ids.values() if token >= known_tokens], known_tokens)
    return model, processor


def load_model(
    path: str | os.PathLike, adapter: str | os.PathLike | None = None, **kwargs
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Open a 4DThinker model that was saved with its processor.

    Args:
        path (`str` or `os.PathLike`): A folder, or a model's name on the Hub. One of an adapter (PEFT) that was
            trained on such a model gives that model with the adapter merged into it; one that was trained on such
            an adapter, with both.
        adapter (`str` or `os.PathLike`, *optional*): An adapter (PEFT) to merge into it, whatever base it names.
        kwargs: Arguments of `from_pretrained` (`dtype`, `device_map`, …).

    Returns:
        `tuple`: The model, in eval mode, and its processor.

    Raises:
        InputError: If there is no such folder, what it holds is not ours, or an adapter cannot be merged exactly.
    """
    hub = _hub_arguments(kwargs)
    fields = _config_fields(path, hub)
    model_type = fields.get("model_type")
    model_class = _SAVED.get(model_type)
    if model_class is None:
        raise InputError(
            f"{path} is not a 4DThinker checkpoint but of type {model_type!r}: make one of it with "
            f"`fourdthinker init --backbone {path}`"
        )
    processor = _load_processor(path, model_class, hub)
    if adapter is not None:
        beside = Path(adapter, "config.json").is_file()
        config = None if beside else model_class.config_class.from_pretrained(path, **hub)
        return _load_merged(adapter, str(path), model_class, hub, kwargs, config), processor
    base = base_of_adapter(path, hub)
    if base is None:
        model, loaded = _load_weights(path, model_class, **kwargs)
        _assert_complete(path, loaded)
        return model, processor
    return _load_merged(path, base, model_class, hub, kwargs), processor


def base_of_adapter(path: str | os.PathLike, hub: dict | None = None) -> str | None:
    """The model that an adapter was trained on; none if the path holds no adapter.

    Args:
        path (`str` or `os.PathLike`): A folder, or a name on the Hub.
        hub (`dict`, *optional*): Arguments of `from_pretrained` that say which files are meant, such as `revision`.

    Raises:
        InputError: If it is one whose configuration names no model.
    """
    try:
        file = find_adapter_config_file(path, **(hub or {}))
    except OSError:  # a folder that is gone, and no name for the Hub: whoever reads its weights says so
        return None
    if file is None:
        return None
    try:
        base = json.loads(read_text(file))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise InputError(f"{path} is an adapter whose adapter_config.json names no base model: train it anew")
    return base


def _load_merged(
    path: str | os.PathLike,
    base: str,
    model_class: type[LatentCausalLMMixin],
    hub: dict,
    kwargs: dict,
    config: PreTrainedConfig | None = None,
) -> PreTrainedModel:
    _assert_adapter_is_safe(path, hub)
    # The configuration beside the adapter is the trained one; the files of the base are of its newest revision.
    config = config or model_class.config_class.from_pretrained(path, **hub)
    # Training may have quantized the base; its files are not, and merging into coarse weights would lose the adapter.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    of_base = {name: value for name, value in kwargs.items() if name != "revision"}
    hub_of_base = _hub_arguments(of_base)
    try:
        further = base_of_adapter(base, hub_of_base)
        if further is None:
            _take_tying(config, base, model_class, hub_of_base)
            model, loaded = _load_weights(base, model_class, config=config, **of_base)
            _assert_complete(base, loaded)
        else:  # an adapter that was trained on another
            model = _load_merged(base, further, model_class, hub_of_base, of_base, config)
    except InputError as error:
        raise InputError(f"{path} is an adapter of {base}, which cannot be read here: {error}") from error
    try:
        merged = merge_adapter(model, path, **hub).eval()
    except InputError as error:
        raise InputError(f"{path} cannot be opened: {error}") from error
    merged.requires_grad_(True).model.freeze_vision()
    # Not its base: an adapter that is trained on this one belongs to both, and so does a reference model.
    merged.name_or_path = merged.config._name_or_path = str(path)
    return merged


def _take_tying(config: PreTrainedConfig, base: str, model_class: type[LatentCausalLMMixin], hub: dict) -> None:
    """Tie the tables as in the base's files: an adapter between them and `config` may have untied them."""
    _config_fields(base, hub)  # which says in one line what is wrong with them
    set_tied(config, model_class.config_class.from_pretrained(base, **hub).tie_word_embeddings)


def _hub_arguments(kwargs: dict) -> dict:
    """The arguments of `from_pretrained` that select files (revision, cache, ...), for use with every file."""
    return {name: kwargs[name] for name in _HUB_ARGUMENTS if name in kwargs}


def _config_fields(path: str | os.PathLike, hub: dict) -> dict:
    """The content of `config.json`; raises with one line if there is none."""
    local = Path(path)
    if not local.is_dir() and (local.exists() or not may_be_hub_name(str(path))):
        raise InputError(f"there is no model folder {path}: give one that `fourdthinker init` or training has written")
    if local.is_dir() and not (local / "config.json").is_file():
        raise InputError(
            f"{path} has no config.json, so it is no model: give one that `fourdthinker init` or training has written"
        )
    try:
        fields, _ = PreTrainedConfig.get_config_dict(path, **hub)
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"no model can be read from {path} ({first_line(error)}): check the path or name") from error
    except TypeError:  # older transformers write into what they have read before anything checks it
        fields = None
    if not isinstance(fields, dict):
        raise InputError(f"no model can be read from {path}: its config.json is no JSON object; save the model there")
    return fields


def _load_weights(path, model_class: type[LatentCausalLMMixin], **kwargs) -> tuple[PreTrainedModel, dict]:
    generation_config = _usable_generation_config(path, _hub_arguments(kwargs))
    if generation_config is not None:
        kwargs.setdefault("generation_config", generation_config)
    try:
        # Weights of other shapes are reported by `_assert_complete`, in one line.
        return model_class.from_pretrained(path, output_loading_info=True, ignore_mismatched_sizes=True, **kwargs)
    except (OSError, SafetensorError) as error:
        raise _unreadable_weights(path, error) from error
    except ValueError as error:
        if "attn_implementation" not in str(error):
            raise
        raise InputError(f"this model has no such attention: {first_line(error)}") from error


def _usable_generation_config(path: str | os.PathLike, hub: dict) -> GenerationConfig | None:
    """The special tokens alone of a generation config that transformers rejects; or nothing.

    Such as one that asks for two sequences but not for sampling.

    Raises:
        InputError: If an end or padding token, which decoding takes from it, is no token id.
    """
    try:
        fields, is_invalid = GenerationConfig.from_pretrained(path, **hub).to_dict(), False
    except OSError:  # none there
        return None
    except (ValueError, TypeError):
        file = cached_file(path, "generation_config.json", **hub)
        fields, is_invalid = json.loads(Path(file).read_text(encoding="utf-8")), True
    for name in ("eos_token_id", "pad_token_id"):
        value = fields.get(name)
        ids = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(one, int) for one in ids):
            raise InputError(f"{path}: its generation_config.json has {name} {value!r:.80}: write the id of a token")
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
    return GenerationConfig(**{name: fields[name] for name in tokens if name in fields}) if is_invalid else None


def _assert_adapter_is_safe(path: str | os.PathLike, hub: dict) -> None:
    """Reject an adapter without safetensors, whose pickle PEFT would open instead."""
    name = "adapter_model.safetensors"
    try:
        if cached_file(path, name, _raise_exceptions_for_missing_entries=False, **hub) is None:
            raise FileNotFoundError(f"no file named {name}")
    except OSError as error:
        raise _unreadable_weights(path, error) from error


def _unreadable_weights(path: str | os.PathLike, error: Exception) -> InputError:
    folder = Path(path)
    pickles = [] if any(folder.glob("*.safetensors")) else sorted(folder.glob("*.bin"))
    if pickles or "use_safetensors" in str(error):  # transformers says so of a name on the Hub
        named = f" ({pickles[0].name})" if pickles else ""
        return InputError(
            f"{path} has pickled weights{named}, and opening a pickle runs code from it: where its source is trusted, "
            "load it with transformers and save it with `save_pretrained`, which writes safetensors"
        )
    return InputError(f"{path} has no readable weights ({first_line(error)}): save the model there")


def _load_processor(path: str | os.PathLike, model_class: type[LatentCausalLMMixin], hub: dict) -> ProcessorMixin:
    """Our processor of the model's family; folders that were saved with the stock one have the same files."""
    try:
        processor = _PROCESSORS[model_class].from_pretrained(path, **hub)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} has no readable processor ({first_line(error)}): save the processor there"
        ) from error
    tokenizer = getattr(processor, "tokenizer", processor)  # transformers 5.2 gives a tokenizer for a name on the Hub
    if VIDEO_TOKEN not in tokenizer.get_vocab():  # transformers makes an empty one where its file is missing
        raise InputError(f"{path} has a tokenizer without {VIDEO_TOKEN}: save the model's own processor there")
    pad_left(tokenizer)
    return processor


def _our_config(
    config_class: type[PreTrainedConfig],
    path,
    fields: dict,
    ids: dict[str, int],
    latent_size: int | None,
    kwargs: dict,
) -> PreTrainedConfig:
    """Our configuration from a backbone's; takes its own fields out of `kwargs`."""
    for published, ours in _PUBLISHED_IDS.items():
        if fields.get(published, ids[ours]) != ids[ours]:
            raise InputError(
                f"{path}: its configuration says {published} = {fields[published]} but its tokenizer {ids[ours]}: "
                "put the tokenizer that the checkpoint was trained with beside it"
            )
    dropped = {"model_type", "architectures", "auto_map", *_PUBLISHED_ONLY}
    ours = {name: value for name, value in fields.items() if name not in dropped}
    if latent_size is not None:
        ours["latent_size"] = latent_size
    ours.update({name: kwargs.pop(name) for name in LATENT_FIELDS if name in kwargs})
    return config_class(**{**ours, **ids})


def _assert_complete(path, loaded: dict) -> None:
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        keys = sorted(map(str, loaded.get(what) or ()))
        if keys:
            raise InputError(
                f"{path}: {len(keys)} weights are {what.removesuffix('_keys')}, such as {keys[0]}: "
                "the files are incomplete or of another model"
            )


@torch.no_grad()
def _give_rows(model: LatentCausalLMMixin, new_ids: list[int], known_tokens: int) -> None:
    """Start the rows of new tokens at the mean of the known ones, in the head too where it is its own."""
    if not new_ids:
        return
    if max(new_ids) >= model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(max(new_ids) + 1, mean_resizing=False)
    tables = {
        id(table.weight): table.weight for table in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    for weight in tables.values():
        weight[new_ids] = weight[:known_tokens].float().mean(0).to(weight.dtype)
