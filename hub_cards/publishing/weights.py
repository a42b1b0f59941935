"""Check weights before they are published: safetensors, whole, and every shard there."""

import json
import struct
from pathlib import PurePosixPath

from ..rendering import is_hub_id
from .findings import Finding, find_place, find_secret
from .folder import LocalFile, LocalFolder, parse_json

ADAPTER = "adapter_config.json"
_INDEX = ".safetensors.index.json"
_OTHER_FORMATS = (".h5", ".msgpack", ".onnx", ".gguf", ".npz", ".npy", ".tflite")
_MAX_HEADER = 100_000_000  # bytes, the limit of safetensors
_SAVE = "save the model again with `save_pretrained`"


def find_weight_faults(folder: LocalFolder) -> list[Finding]:
    """What is wrong with the weights of a model: another format, a shard that is missing, a file that is cut off."""
    found = [
        Finding(name, "holds weights that are not safetensors", "delete it, or save them with `save_pretrained`")
        for name in folder.files
        if PurePosixPath(name).suffix.lower() in _OTHER_FORMATS
    ]
    if not {"config.json", ADAPTER} & folder.files.keys():
        found.append(Finding("config.json", "is not there, so this is no model", "give a folder that holds one"))
        return found  # what a model lacks is of no use to a folder that holds none
    weights = {name: file for name, file in folder.files.items() if name.endswith(".safetensors")}
    if not weights:
        found.append(Finding("model.safetensors", "is not there", _SAVE))
    for name, file in weights.items():
        if fault := find_fault(file):
            found.append(Finding(name, fault, _SAVE))
    for name in folder.files:
        if name.endswith(_INDEX):
            found += _missing_shards(folder, name)
    return found + _adapter_faults(folder)


def find_fault(file: LocalFile) -> str | None:
    """What is wrong with one safetensors file, read from its header alone."""
    start = file.start(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else -1
    if not 0 < length <= min(_MAX_HEADER, file.size - 8):
        return "is no safetensors file, or cut off"
    header = file.start(8 + length)[8:]
    try:
        entries = parse_json(header)
        end = max((entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return "has a header that cannot be read"
    if 8 + length + end != file.size:
        return f"has {file.size} bytes where its header asks for {8 + length + end}"
    notes = json.dumps(entries.get("__metadata__", {})).encode()
    if find_secret(notes):
        return "holds what looks like a token in its header"
    if place := find_place(notes):
        return f"names a path of this machine in its header ({place})"
    return None


def _missing_shards(folder: LocalFolder, index: str) -> list[Finding]:
    try:
        shards = sorted(set(folder.read_json(index)["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError):
        return [Finding(index, "is no index of weights", _SAVE)]
    place = PurePosixPath(index).parent
    missing = [shard for shard in shards if str(place / str(shard)) not in folder.files]
    return [Finding(index, f"names {missing[0]}, which is not there", _SAVE)] if missing else []


def _adapter_faults(folder: LocalFolder) -> list[Finding]:
    """The base model of an adapter must be one that everybody can load."""
    if ADAPTER not in folder.files:
        return []
    try:
        base = folder.read_json(ADAPTER).get("base_model_name_or_path")
    except (ValueError, AttributeError):
        return [Finding(ADAPTER, "is no JSON object", _SAVE)]
    if isinstance(base, str) and is_hub_id(base):
        return []
    remedy = "publish that model first and write its name on the Hub there"
    return [Finding(ADAPTER, f"has a base model that is none of the Hub ({base})", remedy)]
