"""Check the code that is published with a checkpoint: there, readable, and runnable where it is loaded."""

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath

from .findings import Finding
from .folder import LocalFolder

_OWN = "fourdthinker"
_SAVE = "save the folder again with `save_pretrained`"
_GENERATE = "custom_generate/"
_UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  # of code, the last two where it is nested deeply


def find_code_faults(folder: LocalFolder, kind: str) -> list[Finding]:
    """What would stop others from loading the code of a folder, or would run code that they do not expect.

    Args:
        folder ([`LocalFolder`]): As it is to be sent.
        kind (`str`): The code of a Space finds what its `requirements.txt` asks for; nothing is asked of it here.
    """
    if kind == "space":
        return []
    found = []
    for name in folder.files:
        path = PurePosixPath(name)
        if name.startswith(_GENERATE) and path.suffix == ".py":
            found.append(Finding(name, "replaces `generate` of whoever loads the model", f"delete {_GENERATE}"))
        elif path.suffix == ".py":
            found += _file_faults(folder, name)
        elif path.suffix == ".json" and len(path.parts) == 1:
            found += _auto_map_faults(folder, name)
    return found


def _auto_map_faults(folder: LocalFolder, name: str) -> Iterator[Finding]:
    try:
        fields = folder.read_json(name)
    except ValueError:
        yield Finding(name, "is no JSON", "save the folder again")
        return
    auto_map = fields.get("auto_map") if isinstance(fields, dict) else None
    values = auto_map.values() if isinstance(auto_map, dict) else []
    references = [one for value in values for one in (value if isinstance(value, list) else [value]) if one]
    for reference in dict.fromkeys(map(str, references)):
        if "--" in reference:
            fault = f"names code of another repository ({reference}), which no revision pins"
            yield Finding(name, fault, "save the code in the folder with `save_pretrained`")
            continue
        module, _, cls = reference.rpartition(".")
        file = f"{module}.py"
        if file not in folder.files:
            yield Finding(name, f"names {file}, which is not there", _SAVE)
        elif cls not in _top_names(folder, file):
            yield Finding(name, f"names {cls}, which {file} does not have", "save the folder again")


def _top_names(folder: LocalFolder, name: str) -> set[str]:
    try:
        tree = ast.parse(folder.text(name) or "")
    except _UNREADABLE:  # said of the file itself
        return set()
    return {node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))}


def _file_faults(folder: LocalFolder, name: str) -> Iterator[Finding]:
    text = folder.text(name)
    try:
        tree = ast.parse(text or "")
        packages = find_imports(tree)
    except _UNREADABLE:
        text = None
    if text is None:
        yield Finding(name, "is no Python code", f"delete {folder.path / name}, or mend it")
        return
    place = PurePosixPath(name).parent
    siblings = {
        node.module.replace(".", "/")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module
    }
    for sibling in sorted(siblings):
        files = (str(place / f"{sibling}.py"), str(place / sibling / "__init__.py"))
        if folder.files.keys().isdisjoint(files):
            yield Finding(name, f"imports {files[0]}, which is not there", _SAVE)
    for package in packages:
        if package == _OWN:
            yield Finding(name, f"imports {_OWN}, which others do not have", _SAVE)
        elif package not in sys.stdlib_module_names and not _is_installed(package):
            yield Finding(name, f"imports {package}, which is not installed here", f"pip install {package}")


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # such as `__main__`
        return False


def find_imports(tree: ast.AST) -> list[str]:
    """Packages that code cannot do without, as transformers finds them in the code of a checkpoint.

    What is imported inside `try`, or where a function such as `is_flash_attn_available()` says so, may be missing.
    """
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Try) or (isinstance(node, ast.If) and _asks_whether_available(node.test)):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
        found |= set(find_imports(node))
    return sorted(found)


def _asks_whether_available(test: ast.expr) -> bool:
    calls = [node for node in ast.walk(test) if isinstance(node, ast.Call)]
    names = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
    return any(name.endswith("available") for name in names)
