"""Where the files of a model are: a folder, or one commit of a repository on the Hub; and what its JSON files say."""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import cached_file, has_file
from transformers.utils.hub import extract_commit_hash
from transformers.utils.peft_utils import find_adapter_config_file

from .errors import InputError, first_line
from .hub_names import may_be_hub_name
from .text_files import read_text

Report = Callable[[str], object]

logger = logging.getLogger(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ARGUMENTS = ("revision", "token", "cache_dir", "force_download", "local_files_only")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin")
# A value with a slash names a repository of kernels, which transformers would fetch and run.
_KERNEL_FIELDS = ("attn_implementation", "experts_implementation")


class ModelFiles(NamedTuple):
    """A model's files.

    Attributes:
        path (`str`): A folder, or a name on the Hub.
        hub (`dict`): Arguments of `from_pretrained` that say which files of the Hub are meant: revision, token, ...
    """

    path: str
    hub: dict[str, Any]

    @property
    def is_folder(self) -> bool:
        """Whether the files are in a folder here."""
        return Path(self.path).is_dir()

    @property
    def commit(self) -> str | None:
        """The commit that is read, if it is known."""
        revision = self.hub.get("revision")
        return revision if not self.is_folder and _COMMIT.fullmatch(str(revision)) else None


def take_files(path: str | os.PathLike, arguments: dict[str, Any]) -> ModelFiles:
    """The files that arguments of `from_pretrained` select.

    Args:
        path (`str` or `os.PathLike`): A folder, or a name on the Hub.
        arguments (`dict`): Arguments of `from_pretrained`; those that select files are taken out.
    """
    hub = {name: arguments.pop(name) for name in _HUB_ARGUMENTS if name in arguments}
    if hub.get("revision", "") is None:
        del hub["revision"]
    return ModelFiles(os.fspath(path), hub)


def open_files(files: ModelFiles, report: Report | None = None) -> tuple[ModelFiles, dict[str, Any]]:
    """Find a model's files and read its `config.json`.

    Of a repository on the Hub one commit is chosen here, once, so that all files are of it even if a new one is pushed
    meanwhile.

    Args:
        files ([`ModelFiles`]): With any revision.
        report (`Callable[[str], object]`, *optional*): Takes the line that names the commit; by default it is logged.

    Returns:
        `tuple[ModelFiles, dict]`: The same with the commit as revision, and the content of `config.json`.

    Raises:
        InputError: If there is no such model, or its configuration cannot be read or names code to be run.
    """
    path = files.path
    local = Path(path)
    if not local.is_dir() and (local.exists() or not may_be_hub_name(path)):
        raise InputError(f"there is no model folder {path}: give one that `fourdthinker init` or training has written")
    if local.is_dir() and not (local / "config.json").is_file():
        raise InputError(
            f"{path} has no config.json, so it is no model: give one that `fourdthinker init` or training has written"
        )
    try:
        if not files.is_folder:
            commit = extract_commit_hash(cached_file(path, "config.json", **files.hub), None)
            if commit is not None:
                files = ModelFiles(path, {**files.hub, "revision": commit})
                (report or logger.info)(f"model {path} at commit {commit}")
        fields, _ = PreTrainedConfig.get_config_dict(path, **files.hub)
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(f"no model can be read from {path} ({first_line(error)}): check the path or name") from error
    except RecursionError as error:
        raise InputError(f"no model can be read from {path}: its config.json is nested too deeply") from error
    except TypeError:  # older transformers write into what they have read before anything checks it
        fields = None
    if not isinstance(fields, dict):
        raise InputError(f"no model can be read from {path}: its config.json is no JSON object; save the model there")
    if kernel := next(_foreign_kernels(fields), None):
        raise InputError(
            f"{path}: its config.json names code of another repository to run ({kernel}): remove that field, and name "
            "the attention where the model is loaded"
        )
    return files, fields


def _foreign_kernels(fields: Mapping[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if name.strip("_").removesuffix("_internal") in _KERNEL_FIELDS:
            names = value.values() if isinstance(value, Mapping) else [value]
            yield from (f"{name}: {one!r:.80}" for one in names if isinstance(one, str) and "/" in one)
        elif isinstance(value, Mapping):
            yield from _foreign_kernels(value)


def check_revision_is_used(files: ModelFiles) -> None:
    """Reject a revision of a folder, which has none.

    Raises:
        InputError: If there is one.
    """
    if files.is_folder and "revision" in files.hub:
        raise InputError(
            f"{files.path} is a folder, which has no revision {files.hub['revision']}: leave the revision out, or "
            "give a name on the Hub"
        )


def find_base(files: ModelFiles) -> ModelFiles | None:
    """The files of the model that an adapter was trained on; none if there is no adapter.

    Their revision is the one that the adapter's configuration notes. Where the adapter is a folder, a revision that
    was asked for can only be one of its base, and wins.

    Raises:
        InputError: If the adapter's configuration names no model.
    """
    try:
        file = find_adapter_config_file(files.path, **files.hub)
    except OSError:  # a folder that is gone, and no name for the Hub: whoever reads its weights says so
        return None
    if file is None:
        return None
    try:
        fields = json.loads(read_text(file))
        base, noted = fields["base_model_name_or_path"], fields.get("revision")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        base = noted = None
    if not isinstance(base, str) or not base:
        raise InputError(f"{files.path} is an adapter whose adapter_config.json names no base model: train it again")
    hub = dict(files.hub)
    if not files.is_folder:
        hub.pop("revision", None)
    if isinstance(noted, str) and noted and not Path(base).is_dir():
        hub.setdefault("revision", noted)
    return ModelFiles(base, hub)


def announce_base(adapter: ModelFiles, base: ModelFiles, report: Report | None = None) -> None:
    """Name the repository that an adapter makes us read from, before it is.

    Args:
        adapter, base ([`ModelFiles`]): The adapter, and what [`find_base`] gave for it.
        report (`Callable[[str], object]`, *optional*): Takes the line; by default it is a warning in the log.
    """
    if not base.is_folder:
        revision = f" at revision {base.hub['revision']}" if "revision" in base.hub else ""
        (report or logger.warning)(f"{adapter.path} is an adapter of {base.path}{revision}, which is opened now")


def note_origin(model: PreTrainedModel, files: ModelFiles) -> None:
    """Keep where a model is from, for what is trained on it; neither is saved."""
    model.name_or_path = model.config._name_or_path = files.path
    model.config._commit_hash = files.commit


def model_commit(model: PreTrainedModel) -> str | None:
    """The commit that a model was read from; `None` for one that is not from the Hub.

    Args:
        model: What [`load_model`] or [`from_backbone`] gave.
    """
    return config_commit(model.config)


def config_commit(config: PreTrainedConfig) -> str | None:
    """The commit that the model of a configuration was read from, as [`model_commit`] gives it."""
    return getattr(config, "_commit_hash", None)


def usable_generation_config(files: ModelFiles) -> GenerationConfig | None:
    """The special tokens alone of a generation config that transformers rejects; or nothing.

    Such as one that asks for two sequences but not for sampling.

    Raises:
        InputError: If an end or padding token, which decoding takes from it, is no token id.
    """
    try:
        fields, is_invalid = GenerationConfig.from_pretrained(files.path, **files.hub).to_dict(), False
    except OSError:  # none there
        return None
    except RecursionError as error:
        raise InputError(f"{files.path}: its generation_config.json is nested too deeply") from error
    except (ValueError, TypeError):
        file = cached_file(files.path, "generation_config.json", **files.hub)
        fields, is_invalid = json.loads(Path(file).read_text(encoding="utf-8")), True
    for name in ("eos_token_id", "pad_token_id"):
        value = fields.get(name)
        ids = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(one, int) for one in ids):
            raise InputError(
                f"{files.path}: its generation_config.json has {name} {value!r:.80}: write the id of a token"
            )
    tokens = ("bos_token_id", "eos_token_id", "pad_token_id")
    return GenerationConfig(**{name: fields[name] for name in tokens if name in fields}) if is_invalid else None


def check_adapter_is_safe(files: ModelFiles) -> None:
    """Reject an adapter without safetensors, whose pickle PEFT would open instead."""
    name = "adapter_model.safetensors"
    try:
        if cached_file(files.path, name, _raise_exceptions_for_missing_entries=False, **files.hub) is None:
            raise FileNotFoundError(f"no file named {name}")
    except OSError as error:
        raise unreadable_weights(files, error) from error


def unreadable_weights(files: ModelFiles, error: Exception) -> InputError:
    """One line for weights that could not be read.

    Args:
        files ([`ModelFiles`]): The model's.
        error (`Exception`): What reading them raised.
    """
    path = files.path
    if pickle := _find_pickle(files):
        return InputError(
            f"{path} has pickled weights ({pickle}), and opening a pickle runs code from it: where its source is "
            "trusted, load it with transformers and save it with `save_pretrained`, which writes safetensors"
        )
    reason = first_line(error).partition(" and thus")[0]  # transformers then names an argument of ours
    return InputError(f"{path} has no readable weights ({reason}): save the model there")


def _find_pickle(files: ModelFiles) -> str | None:
    """The file of pickled weights, where there are no others."""
    if files.is_folder:
        folder = Path(files.path)
        pickles = [] if any(folder.glob("*.safetensors")) else sorted(folder.glob("*.bin"))
        return pickles[0].name if pickles else None
    hub = {name: value for name, value in files.hub.items() if name != "force_download"}
    try:
        if any(has_file(files.path, name, **hub) for name in _WEIGHTS):
            return None
        return next((name for name in _PICKLES if has_file(files.path, name, **hub)), None)
    except OSError:  # whatever keeps us from looking kept the weights from being read
        return None
