"""Load a model: a stock Qwen-VL checkpoint, a published 4DThinker one, or a folder saved by this package."""

import os
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel, ProcessorMixin

from .configuration_latent import LATENT_FIELDS
from .errors import InputError, first_line, to_one_line
from .model_files import (
    ModelFiles,
    Report,
    announce_base,
    check_adapter_is_safe,
    check_revision_is_used,
    find_base,
    note_origin,
    open_files,
    take_files,
    unreadable_weights,
    usable_generation_config,
)
from .modeling_fourdthinker import FourDThinkerForConditionalGeneration
from .modeling_fourdthinker_qwen3_vl import FourDThinkerQwen3VLForConditionalGeneration
from .modeling_latent import LatentCausalLMMixin
from .peft_adapters import merge_adapter, set_tied
from .processing import prepare_tokenizer
from .processing_fourdthinker import FourDThinkerProcessor
from .processing_fourdthinker_qwen3_vl import FourDThinkerQwen3VLProcessor
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
# Our names of the ids in published 4DThinker and Mirage configurations, and their fields that mean nothing here.
_PUBLISHED_IDS = {
    "latent_token_id": "latent_token_id",
    "latent_start_id": "latent_start_token_id",
    "latent_end_id": "latent_end_token_id",
}
_PUBLISHED_ONLY = ("latent_start_id", "latent_end_id", "compress_strategy", "stage")


def from_backbone(
    path: str | os.PathLike, latent_size: int | None = None, report: Report | None = None, **kwargs
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Make a 4DThinker model of a stock Qwen2.5-VL or Qwen3-VL checkpoint or of a published 4DThinker or Mirage one.

    Args:
        path (`str` or `os.PathLike`): A folder, or a model's name on the Hub.
        latent_size (`int`, *optional*): Latents in a block; by default the checkpoint's own, or 4 if it has none.
        report (`Callable[[str], object]`, *optional*): Takes the line that names the commit of a model on the Hub; by
            default it is logged.
        kwargs: Fields of [`LatentConfigMixin`] to set, and arguments of `from_pretrained` (`dtype`, `revision`, …).

    Returns:
        `tuple`: The model, in eval mode, and its processor, the tokenizer with the latent tokens.

    Raises:
        InputError: If there is no such checkpoint, or none of these families, or a weight is missing or left over.
    """
    files, fields = open_files(take_files(path, kwargs), report)
    check_revision_is_used(files)
    model_class = FAMILIES.get(fields.get("model_type"))
    if model_class is None:
        raise InputError(
            f"{path} holds a model of type {fields.get('model_type')!r}: give a Qwen2.5-VL or Qwen3-VL checkpoint"
            + (" or open this one with `load_model`" if fields.get("model_type") in _SAVED else "")
        )
    processor = _load_processor(files, model_class)
    known_tokens = len(processor.tokenizer)
    processor.tokenizer.add_tokens(list(LATENT_TOKENS), special_tokens=True)
    ids = dict(
        zip(_PUBLISHED_IDS.values(), processor.tokenizer.convert_tokens_to_ids(list(LATENT_TOKENS)), strict=True)
    )
    config = _our_config(model_class.config_class, path, fields, ids, latent_size, kwargs)
    model = _load_weights(files, model_class, config=config, key_mapping=_OLD_TO_NEW_KEYS, **kwargs)
    _give_rows(model, [token for token in ids.values() if token >= known_tokens], known_tokens)
    return model, processor


def load_model(
    path: str | os.PathLike,
    adapter: str | os.PathLike | None = None,
    report: Report | None = None,
    **kwargs,
) -> tuple[PreTrainedModel, ProcessorMixin]:
    """Open a 4DThinker model that was saved with its processor.

    No file of a repository is run: the classes are those installed here, and weights are read from safetensors alone.
    All files of a repository are of one commit, which [`model_commit`] tells afterwards.

    Args:
        path (`str` or `os.PathLike`): A folder, or a model's name on the Hub. One of an adapter (PEFT) that was
            trained on such a model gives that model with the adapter merged into it; one that was trained on such
            an adapter, with both.
        adapter (`str` or `os.PathLike`, *optional*): An adapter (PEFT) to merge into it, whatever base it names.
        report (`Callable[[str], object]`, *optional*): Takes lines for the user: the commit of what is read from the
            Hub, and the base of an adapter before it is read. By default they are logged, the latter as a warning.
        kwargs: Arguments of `from_pretrained` (`dtype`, `device_map`, …). A `revision` is one of the repository at
            `path`, or of its base where `path` is a folder with an adapter. The base of an adapter on the Hub is read
            at the revision that `adapter_config.json` notes, or else the newest.

    Returns:
        `tuple`: The model, in eval mode, and its processor.

    Raises:
        InputError: If there is no such folder, what it holds is not ours, or an adapter cannot be merged exactly.
    """
    kwargs.pop("trust_remote_code", None)  # our classes are installed
    files, fields = open_files(take_files(path, kwargs), report)
    model_type = fields.get("model_type")
    model_class = _SAVED.get(model_type)
    if model_class is None:
        raise InputError(
            f"{path} is not a 4DThinker checkpoint but of type {model_type!r}: make one of it with "
            f"`fourdthinker init --backbone {path}`"
        )
    _read_config(files, model_class)  # what is wrong with it is said before anything large is read
    processor = _load_processor(files, model_class)
    if adapter is not None:
        merged = ModelFiles(os.fspath(adapter), {k: v for k, v in files.hub.items() if k != "revision"})
        beside = Path(adapter, "config.json").is_file()
        config = None if beside else _read_config(files, model_class)
        return _load_merged(merged, files, model_class, report, kwargs, config), processor
    base = find_base(files)
    if base is None:
        check_revision_is_used(files)
        return _load_weights(files, model_class, **kwargs), processor
    return _load_merged(files, base, model_class, report, kwargs), processor


def _load_merged(
    adapter: ModelFiles,
    base: ModelFiles,
    model_class: type[LatentCausalLMMixin],
    report: Report | None,
    kwargs: dict,
    config: PreTrainedConfig | None = None,
    above: tuple[str, ...] = (),
) -> PreTrainedModel:
    path = adapter.path
    if path in above:
        raise InputError(f"{path} is an adapter of itself: name the model below in its adapter_config.json")
    check_adapter_is_safe(adapter)
    # The configuration beside the adapter is the trained one.
    config = config or _read_config(adapter, model_class)
    # Training may have quantized the base; its files are not, and merging into coarse weights would lose the adapter.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    announce_base(adapter, base, report)
    try:
        base, _ = open_files(base, report)
        further = find_base(base)
        if further is None:
            check_revision_is_used(base)
            # Tied as in the base's files: an adapter between them and `config` may have untied the tables.
            set_tied(config, _read_config(base, model_class).tie_word_embeddings)
            model = _load_weights(base, model_class, config=config, **kwargs)
        else:  # an adapter that was trained on another
            model = _load_merged(base, further, model_class, report, kwargs, config, (*above, path))
    except InputError as error:
        raise InputError(f"{path} is an adapter of {base.path}, which cannot be read here: {error}") from error
    try:
        merged = merge_adapter(model, path, **adapter.hub).eval()
    except InputError as error:
        raise InputError(f"{path} cannot be opened: {error}") from error
    merged.requires_grad_(True).model.freeze_vision()
    # Not its base: an adapter that is trained on this one belongs to both, and so does a reference model.
    note_origin(merged, adapter)
    return merged


def _read_config(files: ModelFiles, model_class: type[LatentCausalLMMixin]) -> PreTrainedConfig:
    try:
        return model_class.config_class.from_pretrained(files.path, **files.hub)
    except StrictDataclassError as error:
        reason = to_one_line(str(error))
        raise InputError(f"{files.path}: its config.json has a value of another kind ({reason:.200})") from error


def _load_weights(files: ModelFiles, model_class: type[LatentCausalLMMixin], **kwargs) -> PreTrainedModel:
    path = files.path
    generation_config = usable_generation_config(files)
    if generation_config is not None:
        kwargs.setdefault("generation_config", generation_config)
    try:
        # Weights of other shapes are reported by `_assert_complete`, in one line.
        model, loaded = model_class.from_pretrained(
            path,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            **files.hub,
            **{**kwargs, "use_safetensors": True},
        )
    except (OSError, SafetensorError) as error:
        raise unreadable_weights(files, error) from error
    except ValueError as error:
        if "attn_implementation" not in str(error):
            raise
        raise InputError(f"this model has no such attention: {first_line(error)}") from error
    _assert_complete(path, loaded)
    note_origin(model, files)
    return model


def _load_processor(files: ModelFiles, model_class: type[LatentCausalLMMixin]) -> ProcessorMixin:
    """Our processor of the model's family; folders that were saved with the stock one have the same files."""
    path = files.path
    try:
        # Said aloud: where a file names a class that is not known here, transformers would ask whether to run it.
        processor = _PROCESSORS[model_class].from_pretrained(path, trust_remote_code=False, **files.hub)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        # The last three where a JSON file holds values of other kinds than transformers takes for granted.
        raise InputError(
            f"{path} has no readable processor ({first_line(error)}): save the processor there"
        ) from error
    tokenizer = getattr(processor, "tokenizer", processor)  # transformers 5.2 gives a tokenizer for a name on the Hub
    if VIDEO_TOKEN not in tokenizer.get_vocab():  # transformers makes an empty one where its file is missing
        raise InputError(f"{path} has a tokenizer without {VIDEO_TOKEN}: save the model's own processor there")
    prepare_tokenizer(tokenizer)
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
