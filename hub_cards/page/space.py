"""Write the folder of a Space: the page about a published model, and the files of ours that it needs."""

import ast
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import requires, version
from os import PathLike
from pathlib import Path

from packaging.requirements import Requirement

from ...modeling.atomic import atomic_path
from ...modeling.errors import InputError
from ...modeling.pages import load_text_template
from ..rendering import HUB_ID

_FOLDER = Path(__file__).parent
_PACKAGE = _FOLDER.parents[1]  # what is `fourdthinker` for an import
_FILES = ("app.py", "requirements.txt", "README.md")
# What `app.py` imports; what these import of ours goes along.
_MODULES = ("layout.py", "shipped_examples.py", "single_answers.py")
_DATA = ("*.css", "*.js", "examples/*")
_REQUIRED = ("torch", "torchvision", "transformers", "safetensors", "numpy", "pillow", "av", "matplotlib")
_MARK = b"from fourdthinker.hub_cards.page.layout import"  # only an `app.py` from here has this line
_REVISION = re.compile(r"[\w][\w./-]*")
_LONGEST_DESCRIPTION = 60  # letters, of a Space's header
_PYTHON = "3.12"


def write_space_folder(folder: str | PathLike, *, model: str, revision: str | None = None) -> list[Path]:
    """Write `app.py`, `requirements.txt`, `README.md`, and below `fourdthinker/` the files that the app imports.

    The app opens the checkpoint with the code that it brings, and needs no other package of ours. Runs on ZeroGPU, on
    other GPUs and on a CPU.

    Args:
        folder (`str` or `PathLike`): A new or empty folder, or one that this function wrote: then these files are
            replaced, and others stay.
        model (`str`): The published model: ORG/NAME.
        revision (`str`, *optional*): Its tag or commit. Without one the app opens the newest, and runs its code.

    Returns:
        `list[Path]`: What was written.

    Raises:
        InputError: If model or revision are no names on the Hub, or the folder holds something else.
    """
    if not HUB_ID.fullmatch(model):
        raise InputError(f"{model!r:.80} is no name of a model on the Hub: write ORG/NAME")
    if revision is not None and not _REVISION.fullmatch(revision):
        raise InputError(f"{revision!r:.80} is no revision: write a tag or a commit")
    folder = Path(folder)
    _check_may_write(folder)
    values = {
        "model": model,
        "revision": revision,
        "gradio": version("gradio"),
        "python": _PYTHON,
        "description": _describe(model),
        "requirements": [_range_of(name) for name in _REQUIRED],
    }
    written = [_write(folder / name, load_text_template(_FOLDER, f"{name}.jinja").render(values)) for name in _FILES]
    shutil.rmtree(folder / "fourdthinker", ignore_errors=True)
    for path in find_app_files():
        target = folder / "fourdthinker" / path.relative_to(_PACKAGE)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        written.append(target)
    return written


def _check_may_write(folder: Path) -> None:
    """Reject a folder with files of somebody else, which writing a Space would replace and delete."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    app = folder / "app.py"
    if names and not (app.is_file() and _MARK in app.read_bytes()):
        raise InputError(f"{folder} holds other files, such as {names[0]}, and no Space: name a new folder")
    if linked := next((name for name in (*_FILES, "fourdthinker") if (folder / name).is_symlink()), None):
        raise InputError(f"{folder / linked} is a link, so writing the Space would change what it leads to: delete it")


def find_app_files() -> list[Path]:
    """The files of this package that the app of a Space needs, in order."""
    found: set[Path] = {path for pattern in _DATA for path in _FOLDER.glob(pattern)}
    waiting = [_FOLDER / name for name in _MODULES]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imports(path)
    return sorted(found)


def _imports(path: Path) -> Iterator[Path]:
    """Files of ours that a file imports when it runs; imports for type checkers are left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    skipped = {inner for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and node not in skipped:
            yield path.parents[node.level - 1].joinpath(*(node.module or "").split(".")).with_suffix(".py")


def _range_of(name: str) -> str:
    """A requirement as this package has it; what it does not name comes in any version."""
    known = [Requirement(line) for line in requires("fourdthinker") or ()]
    return next((f"{one.name}{one.specifier}" for one in known if one.name == name and not one.marker), name)


def _describe(model: str) -> str:
    return f"Ask {model} how things move in a video"[:_LONGEST_DESCRIPTION]


def _write(path: Path, text: str) -> Path:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
