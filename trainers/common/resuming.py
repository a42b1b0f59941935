"""Check that checkpoints belong to the run that resumes from them."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...modeling.errors import InputError
from .differences import describe_differences

# From settings as they were written to a value for each field, those left out included.
ResolveSettings = Callable[[Mapping[str, Any]], Mapping[str, Any]]

_PLACES = ("model", "dataset", "eval_dataset", "image_root")
# Settings that change what is printed, kept, precomputed or how fast it goes, but no weight.
_HARMLESS = {
    "activation_checkpointing", "activation_checkpointing_kwargs", "activation_offloading", "dataloader_in_order",
    "dataloader_multiprocessing_context", "dataloader_num_workers", "dataloader_persistent_workers",
    "dataloader_pin_memory", "dataloader_prefetch_factor", "dataset_num_proc", "ddp_bucket_cap_mb", "ddp_timeout",
    "debug", "disable_tqdm", "do_eval", "do_predict", "do_train", "enable_jit_checkpoint", "feature_cache",
    "gradient_checkpointing", "gradient_checkpointing_kwargs", "include_num_input_tokens_seen", "log_completions",
    "log_completions_hub_repo", "log_level", "log_level_replica", "log_multimodal", "log_on_each_node",
    "log_unique_prompts", "logging_first_step", "logging_nan_inf_filter", "logging_steps", "logging_strategy",
    "num_completions_to_print", "on_bad_row", "output_dir", "precompute_targets", "precompute_videos", "project",
    "push_to_hub", "report_to", "resume_from_checkpoint", "run_name", "save_on_each_node", "skip_memory_metrics",
    "torch_empty_cache_steps",
}  # fmt: skip
_SAVING = ("save_steps", "save_strategy", "save_total_limit")
_HARMLESS_PREFIXES = ("hub_", "trackio_")
# Without evaluation no field of it has an effect; with it, sampling draws from the generator that training draws from.
_EVALUATION = ("bf16_full_eval", "fp16_full_eval", "num_generations_eval", "prediction_loss_only")
_EVALUATION_PREFIXES = ("eval_", "per_device_eval_")


def check_same_run(record: Path, run: Mapping[str, Any], resolve_settings: ResolveSettings) -> None:
    """Raise on checkpoints whose run had settings that lead to another result.

    Args:
        record (`Path`): The file beside the checkpoints in which their run is kept.
        run (`Mapping[str, Any]`): The run that is to go on: `model`, `dataset`, `dataset_config`, `eval_dataset`,
            `image_root`, and `settings` as they were written.
        resolve_settings (`Callable`): Gives all fields of such settings, the trainer's configuration among them.

    Raises:
        InputError: If the record cannot be read, or results would differ. It names each difference.
    """
    folder = record.parent
    elsewhere = f"name another --output, or move {folder} away"
    try:
        before = _all_fields(json.loads(record.read_text(encoding="utf-8")), resolve_settings)
    except InputError as error:  # settings of another stage or version
        raise InputError(f"{folder} holds checkpoints of another kind of run ({error}): {elsewhere}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds checkpoints of a run that cannot be read ({error}): {elsewhere}") from error
    after = _all_fields(run, resolve_settings)
    for place in _PLACES:
        if _is_same_place(before[place], after[place]):
            before[place] = after[place]
    compared = [name for name in after if not _is_harmless(name, before, after)]
    difference = describe_differences(*({name: fields.get(name) for name in compared} for fields in (before, after)))
    if difference:
        raise InputError(
            f"{folder} holds checkpoints of another run: {difference}; to go on from them set that back, or "
            f"{elsewhere}"
        )


def _all_fields(run: Mapping[str, Any], resolve_settings: ResolveSettings) -> dict[str, Any]:
    places = {name: run[name] for name in _PLACES}
    places["eval_dataset"] = places["eval_dataset"] or places["dataset"]
    settings = resolve_settings(run["settings"])
    return {**places, "dataset_config": run["dataset_config"], **settings}


def _is_harmless(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    if name in _SAVING:  # where the best checkpoint is loaded at the end, it is one of those that are saved
        return not after["load_best_model_at_end"]
    evaluates = all(str(fields["eval_strategy"]) != "no" for fields in (before, after))
    if not evaluates and name != "eval_strategy" and (name in _EVALUATION or name.startswith(_EVALUATION_PREFIXES)):
        return True
    return name in _HARMLESS or name.startswith(_HARMLESS_PREFIXES)


def _is_same_place(before: Any, after: Any) -> bool:
    """Whether two names are of one folder or file."""
    if before is None or after is None or not (os.path.exists(before) and os.path.exists(after)):
        return before == after
    return os.path.samefile(before, after)
