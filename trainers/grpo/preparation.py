"""Prepare 4DRL before TRL's trainer is built: rewards with their columns, adapter, reference model."""

import logging
from collections.abc import Sequence
from typing import Any

from datasets import Dataset, IterableDataset
from peft import PeftConfig, PeftModel
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils.peft_utils import find_adapter_config_file
from trl.trainer.utils import get_callable_name

from ...modeling.errors import InputError
from ...modeling.model_files import model_commit
from ..common.adapters import complete_lora_config, find_fused_head_fault, validate_adapters
from ..common.dataset_columns import adopt_trl_columns
from ..common.distributed import weights_are_sharded
from ..common.row_validation import validate_rows
from ..rewards.registry import (
    PUBLISHED_REWARD_WEIGHTS,
    PUBLISHED_REWARDS,
    REWARDS,
    check_weights,
    reads_letters,
    reward_columns,
    select_rewards,
)
from ..rewards.spatiotemporal import CENTER_COLUMNS
from .grpo_config import LatentGRPOConfig

logger = logging.getLogger(__name__)

_PROMPT_COLUMNS = ("question", "options", "frames", "timestamps")


def prepare_rewards(reward_funcs: Any, args: LatentGRPOConfig) -> list[Any]:
    """The rewards of a run: functions, reward models, or names of models on the Hub.

    Args:
        reward_funcs: What the trainer was given: one or several functions, models, our names or names on the Hub;
            `None` for those that the settings name.
        args ([`LatentGRPOConfig`]): Gets the published weights where the rewards are the published ones.

    Raises:
        InputError: If there is another number of weights than of rewards.
    """
    if reward_funcs is None:
        chosen = list(args.reward_funcs or PUBLISHED_REWARDS)
        rewards = select_rewards(chosen, args.center_scale)
    else:
        chosen = list(reward_funcs) if isinstance(reward_funcs, (list, tuple)) else [reward_funcs]
        # A name that is none of ours is of a model on the Hub.
        rewards = [
            select_rewards([one], args.center_scale)[0] if isinstance(one, str) and one in REWARDS else one
            for one in chosen
        ]
    if tuple(chosen) == PUBLISHED_REWARDS and args.reward_weights is None:
        args.reward_weights = list(PUBLISHED_REWARD_WEIGHTS)
    check_weights([get_callable_name(reward) for reward in rewards], args.reward_weights)
    return rewards


def prepare_adapter(
    model: PreTrainedModel | PeftModel, peft_config: PeftConfig | None, args: LatentGRPOConfig
) -> PeftConfig | None:
    """The adapter to train, completed and checked, see [`complete_lora_config`] and [`validate_adapters`].

    Raises:
        InputError: If the adapter is not supported, or there is none and the reference model could not be read.
    """
    reason = find_fused_head_fault(model, weights_are_sharded(args))
    peft_config = complete_lora_config(peft_config, model.config, reason is None, spare_tower=args.freeze_vision)
    if reason and peft_config is not None:
        logger.warning("the adapter leaves the embeddings of latent tokens as they are: %s", reason)
    if isinstance(model, PeftModel):
        validate_adapters(model.peft_config.values(), model.get_base_model())
    elif peft_config is not None:
        validate_adapters([peft_config], model)
    elif args.beta:
        _check_reference(model, args.beta)
    return peft_config


def _check_reference(model: PreTrainedModel, beta: float) -> None:
    """Check that TRL can read the reference model, which is the checkpoint that the model was loaded from."""
    folder = model.config._name_or_path
    if not folder:
        raise InputError(
            f"beta is {beta}, and the reference model is read from the folder that the model came from: save the "
            "model and load it with `load_model`, or set beta to 0"
        )
    if find_adapter_config_file(folder, revision=model_commit(model)) is not None:
        raise InputError(
            f"beta is {beta}, and the reference model cannot be read from {folder}, which holds an adapter alone: "
            "train an adapter on it, or save the model that `load_model` gives and load that, or set beta to 0"
        )
    fields, _ = PretrainedConfig.get_config_dict(folder, revision=model_commit(model))
    if fields.get("model_type") != model.config.model_type:
        raise InputError(
            f"beta is {beta}, and the reference model cannot be read from {folder}, which holds a model of type "
            f"{fields.get('model_type')!r}: save the model with its processor and load it with `load_model`, or set "
            "beta to 0"
        )


def prepare_rows(name: str, rows: Any, reward_funcs: Sequence[Any], args: LatentGRPOConfig) -> Any:
    """Rows in our columns, checked before the first step; see [`adopt_trl_columns`] and [`validate_rows`].

    Args:
        name (`str`): What to call them.
        rows: A dataset, a dict of them, or none. A stream passes: a wrong row of it fails when it comes.
        reward_funcs (`Sequence`): The rewards, whose columns rows must have. `answer` is asked for only if one
            reads it.
        args ([`LatentGRPOConfig`]): `on_bad_row` says what becomes of bad ones.

    Raises:
        InputError: If a column is missing or, unless they are skipped, a row is bad.
    """
    if isinstance(rows, dict):
        return {key: prepare_rows(f"{name} {key!r}", one, reward_funcs, args) for key, one in rows.items()}
    if not isinstance(rows, (Dataset, IterableDataset)) or rows.column_names is None:
        return rows
    if isinstance(rows, Dataset):
        rows = adopt_trl_columns(rows, "grpo")
    columns = dict.fromkeys((*_PROMPT_COLUMNS, *reward_columns(reward_funcs)))
    missing = [column for column in columns if column not in rows.column_names]
    if missing:
        states = set(missing) <= set(CENTER_COLUMNS)
        source = "`build-data --questions mllm4d`" if states else "load_dataset(folder, 'grpo')"
        raise InputError(f"{name} has no column {', '.join(missing)}: give it rows of {source}")
    if isinstance(rows, IterableDataset):
        return rows
    return validate_rows(rows, "grpo", args.on_bad_row, letters=reads_letters(reward_funcs))
