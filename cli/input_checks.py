"""Validate a command's input before torch is imported: paths, files and required packages."""

import importlib
import importlib.util
import netrc
import os
import sys
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..modeling.atomic import check_writable
from ..modeling.errors import InputError, first_line
from ..modeling.hub_names import may_be_dataset_name, may_be_hub_name
from ..modeling.records import RECORD_KINDS, is_row_file, read_records
from .new_folder import check_model_folder
from .trainer_settings import JSON_FILES, check_settings
from .yaml_values import to_bool, to_text

if TYPE_CHECKING:
    from .training_run import Run

# The module that each tracker of `report_to` needs, any one of several; transformers knows no other trackers.
TRACKERS = {
    "azure_ml": ("azureml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub",),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "kubeflow": (),
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
# Optimizers by the beginning of their names; the first that fits holds.
_OPTIMIZERS = (
    ("adamw_torch_4bit", "torchao"),
    ("adamw_torch_8bit", "torchao"),
    ("galore", "galore_torch"),
    ("apollo", "apollo_torch"),
    ("lomo", "lomo_optim"),
    ("adalomo", "lomo_optim"),
    ("grokadamw", "grokadamw"),
    ("schedule_free", "schedulefree"),
    ("stable_adamw", "optimi"),
    *((name, "bitsandbytes") for name in ("adamw_bnb", "adamw_8bit", "ademamix", "lion", "paged", "rmsprop_bnb")),
)
_SWITCHES = {"load_in_4bit": "bitsandbytes", "load_in_8bit": "bitsandbytes", "use_liger_kernel": "liger_kernel"}
_FLASH_ATTENTION = ("flash_attn", "kernels")
_PACKAGES = {"optimi": "torch-optimi"}  # of modules whose package has another name than `module` with dashes
HTTP_CLIENTS = ("httpx", "httpx2")  # of huggingface_hub: the first until 2.0, then the second


def check_run(run: "Run", stage: str) -> None:
    """Find what would end a training command in its first minute, without importing torch.

    Args:
        run ([`Run`]): What the file and the command line say.
        stage (`str`): `"dift"` or `"grpo"`.

    Raises:
        InputError: For an unknown or wrong setting, a package that is not installed, a model or dataset that is not
            there, or an output that cannot be made.
    """
    check_settings(stage, run.settings)
    check_packages(run.settings)
    for name in JSON_FILES:
        value = run.settings.get(name)
        if isinstance(value, str) and not value.startswith("{"):
            check_file(value, name)
    check_model_folder(run.output, filter(None, (run.model, run.dataset, run.eval_dataset, run.image_root)))
    if run.checkpoints.exists() and not run.checkpoints.is_dir():
        raise InputError(f"cannot write {run.checkpoints}: there is a file of that name; name another output")
    check_writable(run.checkpoints)
    revision = run.settings.get("model_revision")
    check_model(run.model, revision=None if revision in (None, "main") else to_text(revision))
    configuration = run.dataset_config or stage
    check_dataset(run.dataset, configuration, "train")
    if run.eval_dataset and to_text(run.settings.get("eval_strategy", "no")) != "no":
        check_dataset(run.eval_dataset, configuration, "test")


def check_packages(settings: Mapping[str, Any]) -> None:
    """See that the packages that settings ask for are installed, and that trackers are known.

    Raises:
        InputError: If one is not.
    """
    trackers = settings.get("report_to")
    for tracker in trackers if isinstance(trackers, list) else [trackers]:
        if tracker in (None, "none", "all"):
            continue
        if tracker not in TRACKERS:
            raise InputError(f"report_to: unknown tracker {tracker!r}: choose from none, all, {', '.join(TRACKERS)}")
        modules = TRACKERS[tracker]
        if modules and not any(map(_is_installed, modules)):
            raise _not_installed(f"report_to: {tracker}", modules[0])
        if tracker == "wandb":
            _check_wandb_login()
    for name, module in _SWITCHES.items():
        if to_bool(settings.get(name, False)) and not _is_installed(module):
            raise _not_installed(name, module)
    optimizer = str(settings.get("optim", ""))
    needed = next((module for name, module in _OPTIMIZERS if optimizer.startswith(name)), None)
    if needed and not _is_installed(needed):
        raise _not_installed(f"optim: {optimizer}", needed)
    # transformers takes a kernel of the Hub in the place of the package.
    if settings.get("attn_implementation") == "flash_attention_2" and not any(map(_is_installed, _FLASH_ATTENTION)):
        raise _not_installed("attn_implementation: flash_attention_2", _FLASH_ATTENTION[0])
    if settings.get("deepspeed") and not _is_installed("deepspeed"):
        raise _not_installed("deepspeed", "deepspeed")


def check_seed(seed: int) -> None:
    """See that a random seed fits 31 bits, which is what COLMAP takes.

    Raises:
        InputError: If not.
    """
    if not 0 <= seed < 2**31:
        raise InputError(f"--seed must be between 0 and {2**31 - 1}, got {seed}")


def check_file(path: str | Path, what: str) -> None:
    """See that a file is there.

    Raises:
        InputError: If not; the line begins with `what`.
    """
    if not Path(path).is_file():
        reason = "it is a folder" if Path(path).is_dir() else "there is no such file"
        raise InputError(f"cannot read {what} {path}: {reason}")


def check_model(
    name: str,
    remedy: str = "give one that `fourdthinker init` or training has written",
    revision: str | None = None,
) -> None:
    """See that a model folder is there, or that the Hub or its cache has a model of this name.

    Args:
        name (`str`): A folder, or a name on the Hub.
        remedy (`str`, *optional*): What to do where there is none.
        revision (`str`, *optional*): A branch, tag or commit of it.

    Raises:
        InputError: If not, or if a folder that holds no adapter is to have a revision.
    """
    path = Path(name)
    if path.is_dir():
        if not any((path / file).is_file() for file in ("config.json", "adapter_config.json")):
            raise InputError(f"{name} has no config.json, so it is no model: {remedy}")
        if revision is not None and not (path / "adapter_config.json").is_file():
            raise InputError(
                f"{name} is a folder, which has no revision {revision}: leave the revision out, or give a name on the "
                "Hub"
            )
        return
    if path.exists() or not may_be_hub_name(name):
        raise InputError(f"there is no model folder {name}: {remedy}")
    _check_hub(name, "model", revision)


def check_dataset(name: str, configuration: str, split: str) -> None:
    """See that a folder or file of rows is there, or that the Hub or a cache has a dataset of this name.

    Raises:
        InputError: If not, or if a file is of another kind or holds nothing.
    """
    if Path(name).is_file():
        _check_row_file(Path(name))
    if Path(name).exists():
        return
    start = f"cannot read {split} rows for {configuration!r} from {name}"
    if not may_be_dataset_name(name) or is_row_file(name):
        raise InputError(f"{start}: there is no such file or folder; make one with `fourdthinker build-data`")
    try:
        _check_hub(name, "dataset")
    except InputError as error:
        raise InputError(f"{start}: {error}") from error


def _check_row_file(path: Path) -> None:
    if not is_row_file(path.name):
        raise InputError(f"{path} is of no known kind: give a {RECORD_KINDS} file, or a folder of rows")
    if next(read_records(path), None) is None:
        raise InputError(f"{path} has no rows")


def _check_hub(name: str, kind: str, revision: str | None = None) -> None:
    """See that the Hub has a repository, unless a part of it is in the cache."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    in_hub_cache = Path(constants.HF_HUB_CACHE, f"{kind}s--{name.replace('/', '--')}")
    caches = os.environ.get("HF_DATASETS_CACHE", os.path.join(constants.HF_HOME, "datasets"))
    if in_hub_cache.is_dir() or (kind == "dataset" and Path(caches, name.replace("/", "___")).is_dir()):
        return
    unreachable: tuple[type[Exception], ...] = (OSError, ValueError, *_transport_errors())
    try:
        HfApi().repo_info(name, repo_type=kind, revision=revision, timeout=10)
        if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
            print(f"downloading {name} from the Hub; --verbose shows how far it is", file=sys.stderr)
    except RevisionNotFoundError as error:
        raise InputError(
            f"{name} has no revision {revision} on the Hub: give a branch, a tag or a full commit hash of it"
        ) from error
    except RepositoryNotFoundError as error:
        raise InputError(
            f"there is no {kind} {name}, neither a folder here nor on the Hub: check the name, or log in by "
            "`hf auth login` if it is private"
        ) from error
    except OfflineModeIsEnabled as error:
        raise InputError(
            f"{name} is no folder here and not in the Hub's cache, and HF_HUB_OFFLINE is set: check the path"
        ) from error
    except HFValidationError as error:
        raise InputError(
            f"there is no {kind} folder {name}, and no repository of the Hub can have this name: check the path"
        ) from error
    except unreachable as error:
        reason = first_line(error)
        raise InputError(
            f"{name} is no folder here, and the Hub cannot be reached ({reason}): check the path or the connection"
        ) from error


def _check_wandb_login() -> None:
    """See that wandb has a key or needs none. At a terminal it asks for one; its settings files may say anything."""
    offline = os.environ.get("WANDB_MODE", "online") not in ("online", "run", "shared")
    if offline or any(map(os.environ.get, ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"))) or sys.stdin.isatty():
        return
    home = Path.home()
    folder = Path(os.environ.get("WANDB_CONFIG_DIR", home / ".config" / "wandb"))
    if any(path.is_file() for path in (folder / "settings", Path("wandb", "settings"))):
        return
    host = urllib.parse.urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    for file in (os.environ.get("NETRC"), home / ".netrc", home / "_netrc"):
        try:
            if file and netrc.netrc(str(file)).authenticators(host):
                return
        except FileNotFoundError:
            continue
        except (OSError, netrc.NetrcParseError):  # wandb may read it otherwise
            return
    raise InputError("report_to: wandb needs a login: run `wandb login`, or set WANDB_API_KEY or WANDB_MODE=offline")


def _transport_errors() -> tuple[type[Exception], ...]:
    return tuple(importlib.import_module(name).HTTPError for name in HTTP_CLIENTS if _is_installed(name))


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _not_installed(setting: str, module: str) -> InputError:
    package = _PACKAGES.get(module, module.replace("_", "-"))
    return InputError(f"{setting} needs {package}, which is not installed: pip install {package}")
