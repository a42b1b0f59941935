"""Load what a trainer got in short form: model by path, processor by model, default settings."""

import os
import sys
from pathlib import Path
from typing import Any

from accelerate import PartialState
from peft import PeftModel
from transformers import AutoProcessor, PreTrainedModel, ProcessorMixin, TrainingArguments
from trl.trainer.utils import get_config_model_id

from ...modeling.errors import InputError
from ...modeling.loading import load_model
from ...modeling.model_files import model_commit
from ...modeling.tokens import LATENT_TOKENS

ModelOrPath = PreTrainedModel | PeftModel | str | os.PathLike


def name_run(model: ModelOrPath, stage: str) -> str:
    """The output folder of a run that names none, as TRL makes it: the model's name and the stage's."""
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else get_config_model_id(model.config)
    return f"{Path(name or 'model').name}-{stage}"


def load_parts(
    model: ModelOrPath, args: TrainingArguments, processor: ProcessorMixin | None
) -> tuple[PreTrainedModel | PeftModel, ProcessorMixin]:
    """The model and the processor of a trainer.

    Args:
        model: A model, or where [`load_model`] finds one: a folder or a name on the Hub.
        args ([`~trl.SFTConfig`] or [`~trl.GRPOConfig`]): `model_init_kwargs` go to `load_model`, with `dtype`
            float32 by default as in TRL. Of them only the revision, by which TRL reads a reference model, is left
            afterwards.
        processor (`ProcessorMixin`, *optional*): By default the one that was saved with the model.

    Raises:
        InputError: If either cannot be found, or the processor has not the model's latent tokens.
    """
    if isinstance(model, (str, os.PathLike)):
        arguments: dict[str, Any] = {"dtype": "float32", **(args.model_init_kwargs or {})}
        loaded, saved_processor = load_model(model, report=_print_once, **arguments)
        # The commit, so that a reference model is of the same one.
        revision = model_commit(loaded) or arguments.get("revision")
        args.model_init_kwargs = {"revision": revision} if revision else None
        return loaded, processor or saved_processor
    if processor is None:
        inner = model.get_base_model() if isinstance(model, PeftModel) else model
        try:
            commit = model_commit(inner)
            pinned = {"revision": commit} if commit else {}
            processor = AutoProcessor.from_pretrained(inner.config._name_or_path, trust_remote_code=False, **pinned)
        except (OSError, ValueError) as error:
            raise InputError(
                f"the model was loaded from {inner.config._name_or_path!r}, where no processor is: give "
                "processing_class, or the model by its path"
            ) from error
    _check_latent_tokens(model, processor)
    return model, processor


def _check_latent_tokens(model: PreTrainedModel | PeftModel, processor: ProcessorMixin) -> None:
    config = (model.get_base_model() if isinstance(model, PeftModel) else model).config
    expected = [config.latent_token_id, config.latent_start_token_id, config.latent_end_token_id]
    if processor.tokenizer.convert_tokens_to_ids(list(LATENT_TOKENS)) != expected:
        raise InputError(
            "the processor does not have the model's latent tokens: give as processing_class the one that "
            "`from_backbone` or `load_model` gave with the model"
        )


def _print_once(line: str) -> None:
    """Print a line to stderr; of several processes the first does."""
    if PartialState().is_main_process:
        print(line, file=sys.stderr)
