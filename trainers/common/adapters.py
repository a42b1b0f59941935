"""Adapters (PEFT) for models with latents."""

from collections.abc import Iterable
from dataclasses import replace

from peft import LoraConfig, PeftConfig
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils import TrainableTokensWrapper
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from ...modeling.errors import InputError
from ...modeling.model_files import config_commit
from ...modeling.peft_adapters import check_adapter

_TOWER = r"(^|.*\.)visual\..*"


def complete_lora_config(
    adapter: PeftConfig | None, config: PreTrainedConfig, new_tokens: bool = True, spare_tower: bool = True
) -> PeftConfig | None:
    """An adapter as a model with latents needs it, where it leaves things open.

    It notes the commit of a model from the Hub, at which it is opened again. One of LoRA then reaches all linear
    layers of the language model and spares the vision tower, whose features are targets.

    Args:
        adapter (`peft.PeftConfig`, *optional*): What it says itself stays; one of another kind stays as it is.
        config: The model's configuration.
        new_tokens (`bool`, *optional*, defaults to `True`):
            Train the embeddings of the three latent tokens as well, which no backbone knows.
        spare_tower (`bool`, *optional*, defaults to `True`): `False` lets it reach the vision tower too.
    """
    commit = config_commit(config)
    if adapter is not None and adapter.revision is None and commit is not None:
        adapter = replace(adapter, revision=commit)
    if not isinstance(adapter, LoraConfig):
        return adapter
    missing = {}
    if adapter.target_modules is None and adapter.target_parameters is None:
        missing["target_modules"] = "all-linear"
    if spare_tower and adapter.exclude_modules is None:
        missing["exclude_modules"] = _TOWER
    if new_tokens and adapter.modules_to_save is None and adapter.trainable_token_indices is None:
        tokens = sorted([config.latent_start_token_id, config.latent_token_id, config.latent_end_token_id])
        # A head of its own starts them at the mean of all tokens, whose score is never the largest.
        tied = config.tie_word_embeddings
        missing["trainable_token_indices"] = tokens if tied else {"embed_tokens": tokens, "lm_head": tokens}
    return replace(adapter, **missing)


def validate_adapters(adapters: Iterable[PeftConfig], model: PreTrainedModel) -> None:
    """Reject adapters that cannot be trained as configured, or reopened as they were trained.

    Args:
        adapters (`Iterable[peft.PeftConfig]`): Adapters to train, as [`complete_lora_config`] gives them.
        model: The model without them.

    Raises:
        InputError: For a method or option that [`check_adapter`] rejects, for targets that no module has, and for
            targets that hold the input embeddings or the head, of which losses read the weight alone.
    """
    modules = dict(model.named_modules())
    tables = (model.get_input_embeddings(), model.get_output_embeddings())
    for adapter in adapters:
        check_adapter(adapter)
        parameters = getattr(adapter, "target_parameters", None) or ()
        targets = adapter.target_modules
        if targets is None and not isinstance(adapter, LoraConfig):
            raise InputError("the adapter has no target_modules: name some, such as ['k_proj', 'v_proj', 'down_proj']")
        reached = [name for name in modules if targets and check_target_module_exists(adapter, name)]
        if targets and not reached and targets != "all-linear":
            listed = targets if isinstance(targets, str) else ", ".join(sorted(targets))
            outside = f" outside of {adapter.exclude_modules}" if adapter.exclude_modules else ""
            raise InputError(f"no module{outside} is named {listed}: correct the adapter's target_modules")
        reached += [name for name in modules if any(f".{name}.weight".endswith(f".{one}") for one in parameters)]
        for name in reached:
            if any(modules[name] is table for table in tables):
                raise InputError(
                    f"the adapter reaches {name}: train all of it with modules_to_save or rows of it with LoRA's "
                    "trainable_token_indices, and leave it out of the targets"
                )


def check_tower(visual: nn.Module, frozen: bool) -> None:
    """Reject an adapter that reaches a frozen vision tower, or spares one that should be trained.

    Args:
        visual (`nn.Module`): The tower, with the adapter's layers.
        frozen (`bool`): Whether the settings freeze it.

    Raises:
        InputError: If the adapter does something else than the settings say.
    """
    trained = any(weight.requires_grad for weight in visual.parameters())
    if frozen and trained:
        raise InputError(
            r"the adapter reaches the vision tower, which is frozen: leave it out with exclude_modules=r'.*visual\..*'"
        )
    if not (frozen or trained):
        raise InputError(
            "freeze_vision is false, but the adapter reaches no layer of the vision tower: name some in "
            "target_modules, or set freeze_vision to true"
        )


def find_fused_head_fault(model: PreTrainedModel, sharded: bool) -> str | None:
    """Find why TRL's fused head would ignore the rows of single tokens that an adapter trains; `None` if it would not.

    Args:
        model: The model without an adapter.
        sharded (`bool`): Whether its weights are spread over processes, see [`weights_are_sharded`].
    """
    if getattr(model.get_output_embeddings(), "bias", None) is not None:
        return "the head has a bias, which PEFT would leave out"
    if sharded:
        return "weights are sharded (FSDP or ZeRO-3), and PEFT puts trained rows into whole tables alone"
    return None


def set_missing_head_bias(model: PreTrainedModel) -> None:
    """Give a head whose rows of some tokens are trained a `bias` of `None`.

    TRL's fused head reads `weight` and `bias`. PEFT's wrapper of such a head answers the first, with the trained rows
    in it or, switched off, without; of the second it knows nothing, and reading it is an error.
    """
    head = model.get_output_embeddings()
    if isinstance(head, TrainableTokensWrapper) and head.original_module.bias is None:
        head.register_parameter("bias", None)
