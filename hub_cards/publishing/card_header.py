"""Check the header of a card by the rules of the Hub, without asking it."""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..licences import HUB_LICENCES, OTHER
from .findings import Finding
from .folder import LocalFolder
from .preparation import CARD

_RELATIONS = ("adapter", "finetune", "merge", "quantized")
_SDKS = ("gradio", "docker", "static", "streamlit")
_COLOURS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_LONGEST_ID = 193  # of an owner and a name, each of 96 letters at most
_LISTS = ("tags", "datasets", "metrics", "task_categories", "source_datasets", "size_categories", "models")


def read_header(text: str | None) -> Mapping[str, Any] | str:
    """The header of a card, or what is wrong with it.

    Args:
        text (`str`, *optional*): Text of a `README.md`; `None` where there is none.
    """
    if text is None:
        return "is not there, or not UTF-8"
    match = re.match(r"\ufeff?---\r?\n(.*?)\r?\n---[ \t]*(\r?\n|$)", text, re.DOTALL)
    if match is None:
        return "has no header (between two lines `---`)"
    try:
        header = yaml.safe_load(match[1])
    except RecursionError:
        return "has a header that is nested too deeply"
    except yaml.YAMLError as error:
        return f"has a header that is no YAML ({' '.join(str(error).split())})"
    return header if isinstance(header, dict) else "has a header that holds no names and values"


def find_header_faults(folder: LocalFolder, kind: str) -> list[Finding]:
    """What the Hub would reject in the card of a folder, or could not show."""
    header = read_header(folder.text(CARD))
    if isinstance(header, str):
        remedy = "write one with `fourdthinker.hub_cards`" if kind != "space" else "write one for a Space"
        return [Finding(CARD, header, remedy)]
    rules = {"model": _model_faults, "dataset": _dataset_faults, "space": _space_faults}
    faults = [*_list_faults(header), *_licence_faults(header), *rules[kind](header, folder)]
    return [Finding(CARD, f"has a header in which {fault}", remedy) for fault, remedy in faults]


def licences_of(header: Mapping[str, Any]) -> list[str]:
    """The licences that a header names."""
    value = header.get("license")
    return [str(one) for one in (value if isinstance(value, list) else [value]) if one]


def _list_faults(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _LISTS:
        value = header.get(name)
        if value is not None and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            yield f"`{name}` is no list of words", "write one word a line, each after `- `"


def _licence_faults(header: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    licences = licences_of(header)
    if not licences:
        yield "there is no `license`", "write the id of one, such as `license: apache-2.0`"
    for licence in licences:
        if licence not in HUB_LICENCES:
            remedy = "write `license: other` with `license_name` and `license_link`, or an id that the Hub knows"
            yield f"the licence {licence} is none that the Hub knows", remedy
    if OTHER in licences and not (header.get("license_name") and header.get("license_link")):
        yield "`license: other` has no name or link", "add `license_name` and `license_link`"


def _model_faults(header: Mapping[str, Any], folder: LocalFolder) -> Iterator[tuple[str, str]]:
    yield from _id_faults(header, "base_model")
    yield from _id_faults(header, "datasets")
    relation = header.get("base_model_relation")
    if relation is not None and relation not in _RELATIONS:
        yield f"`base_model_relation` is {relation}", f"write one of {', '.join(_RELATIONS)}"
    entries = header.get("model-index")
    if entries is None:
        return
    remedy = "give each result a task, a dataset and metrics, and each entry a name"
    for entry in entries if isinstance(entries, list) else [None]:
        if not isinstance(entry, dict) or not entry.get("name") or not isinstance(entry.get("results"), list):
            yield "`model-index` has an entry without name or results", remedy
        elif not all(map(_is_complete, entry["results"])):
            yield "`model-index` has a result that is not complete", remedy


def _is_complete(result: Any) -> bool:
    """Whether a result of `model-index` has what the Hub asks for."""
    if not isinstance(result, dict):
        return False
    task, dataset, metrics = (result.get(name) for name in ("task", "dataset", "metrics"))
    has_task = isinstance(task, dict) and bool(task.get("type"))
    has_dataset = isinstance(dataset, dict) and bool(dataset.get("name") and dataset.get("type"))
    if not (has_task and has_dataset and isinstance(metrics, list) and metrics):
        return False
    return all(isinstance(m, dict) and m.get("type") and m.get("value") is not None for m in metrics)


def _dataset_faults(header: Mapping[str, Any], folder: LocalFolder) -> Iterator[tuple[str, str]]:
    configs = header.get("configs")
    if configs is None:
        return
    remedy = "write the card again, e.g. by `fourdthinker build-data`"
    if not (isinstance(configs, list) and all(isinstance(one, dict) and one.get("config_name") for one in configs)):
        yield "`configs` is no list of configurations with names", remedy
        return
    if sum(bool(config.get("default")) for config in configs) > 1:
        yield "more than one configuration is the default", remedy
    for config in configs:
        for pattern in _patterns(config.get("data_files")):
            if not any(fnmatch.fnmatch(name, pattern) for name in folder.files):
                yield f"{config['config_name']} names {pattern}, which is not there", remedy


def _patterns(files: Any) -> list[str]:
    """Names and patterns of files, of the shapes that a configuration may have."""
    if isinstance(files, str):
        return [files]
    if isinstance(files, dict):
        return _patterns(files.get("path", list(files.values())))
    return [pattern for one in files for pattern in _patterns(one)] if isinstance(files, list) else []


def _space_faults(header: Mapping[str, Any], folder: LocalFolder) -> Iterator[tuple[str, str]]:
    if header.get("sdk") not in _SDKS:
        yield "`sdk` is missing or unknown", f"write one of {', '.join(_SDKS)}"
    app = header.get("app_file", "app.py")
    if header.get("sdk") in ("gradio", "streamlit") and str(app) not in folder.files:
        yield f"`app_file` names {app}, which is not there", "put it there"
    for name in ("colorFrom", "colorTo"):
        if name in header and header[name] not in _COLOURS:
            yield f"`{name}` is {header[name]}", f"write one of {', '.join(_COLOURS)}"


def _is_id(name: str) -> bool:
    return len(name) <= _LONGEST_ID and _ID.fullmatch(name) is not None


def _id_faults(header: Mapping[str, Any], name: str) -> Iterator[tuple[str, str]]:
    value = header.get(name)
    for one in value if isinstance(value, list) else [value]:
        if one is not None and (not _is_id(str(one)) or Path(str(one)).exists()):
            yield f"`{name}` is {one}, which is no id on the Hub", "write ORG/NAME, or leave it out"
