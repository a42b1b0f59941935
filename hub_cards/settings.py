"""The settings that a run had, as a card shows them: no paths, no names of machines, nothing that logs or saves."""

import dataclasses
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any

# Where a run reads and writes: the card names its model and data elsewhere.
PLACES = frozenset(
    "model dataset output eval_dataset image_root model_name_or_path dataset_name output_dir logging_dir run_name "
    "resume_from_checkpoint checkpoint deepspeed fsdp_config hub_model_id chat_template_path feature_cache".split()
)
# Shown whether or not they are at their default.
_ALWAYS = frozenset(
    "learning_rate lr_scheduler_type per_device_train_batch_size gradient_accumulation_steps max_steps "
    "num_train_epochs optim weight_decay max_grad_norm warmup_steps seed bf16 self_feeding ce_loss_weight "
    "sim_loss_weight num_generations temperature beta epsilon loss_type max_completion_length latent_mask".split()
)
# Change nothing of what is learned.
_IRRELEVANT = re.compile(
    r"^(logging_|log_|save_|hub_|dataloader_|report_to|disable_tqdm|push_to_hub|project|trackio|eval_|on_bad_row"
    r"|torch_compile|ddp_|skip_memory|auto_find|restore_callback|include_|local_rank|full_determinism|jit_|trust_"
    r"|remove_unused|do_(train|eval|predict)|prediction_loss|load_best|label_names|metric_for|greater_is|use_cpu"
    r"|average_tokens|enable_jit|past_index|batch_eval|vllm_|model_init_kwargs|parallelism|accelerator_config)"
)
_PATH = re.compile(r"^(?:~|\.{0,2}/|[A-Za-z]:[\\/])")


def describe_settings(arguments: Any) -> dict[str, Any]:
    """The settings that matter for what is learned: those that differ from their default, and the usual ones.

    Args:
        arguments: A trainer's configuration, after it has checked and completed its values.

    Returns:
        `dict[str, Any]`: Values that JSON and YAML can hold, by name; see [`without_paths`].
    """
    found = {}
    for field in dataclasses.fields(arguments):
        value = getattr(arguments, field.name, None)
        if not field.init or _IRRELEVANT.match(field.name) or "token" in field.name.split("_"):
            continue
        if value is None or (field.name not in _ALWAYS and value == _default(field)):
            continue
        found[field.name] = value
    return without_paths(found)


def without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as plain values without those that say where a run reads and writes, at any depth.

    A value that is a path keeps its last name. What is neither text, number nor a container of them is left out.

    >>> without_paths({"output": "/data/run", "settings": {"seed": 0, "image": "/data/a.png"}})
    {'settings': {'seed': 0, 'image': 'a.png'}}
    """
    plain = {str(name): _plain(value) for name, value in settings.items() if name not in PLACES}
    return {name: value for name, value in plain.items() if value is not None and value != []}


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, Mapping):
        return without_paths(value) or None
    if isinstance(value, list | tuple | set):
        return [item for item in map(_plain, value) if item is not None]
    if isinstance(value, str):
        return re.split(r"[\\/]", value.rstrip("\\/"))[-1] if _PATH.match(value) else value
    return value if isinstance(value, bool | int | float) else None


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
